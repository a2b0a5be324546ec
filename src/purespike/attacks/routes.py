"""Ways to a gradient: an attacker tries one after the other, each on what the former ones left standing."""

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor, nn

from purespike.attacks.autoattack import AutoAttack
from purespike.attacks.registry import Attack
from purespike.attacks.result import AttackResult, merge
from purespike.neurons import parse_surrogate, surrogate_gradient
from purespike.results import Component


@dataclass(frozen=True)
class Route:
    """One attempt: its names for reports, and what runs an attack along it.

    Args:
        name: the surrogate, the approximation or the substitute that is differentiated; ``"own"`` for none.
        loss: what is maximised, ``"own"`` for the attack's.
        run: attacks images ``[N, C, H, W]`` of labels ``[N]`` with the attack given; its ``success`` is
            judged by the target.
    """

    name: str
    loss: str
    run: Callable[[Attack, Tensor, Tensor], AttackResult]


def follow(
    routes: Sequence[Route], images: Tensor, labels: Tensor, *, attack: Attack
) -> tuple[AttackResult, list[Component]]:
    """Attack along every route; each meets only what the former ones left standing.

    Args:
        routes: at least one.
        images: ``[N, C, H, W]`` floats in [0, 1].
        labels: true classes, ``[N]``.
        attack: run once per route.

    Returns:
        The combined result, whose ``success`` is the worst case per sample and whose trace is that of the
        first route, and one :class:`Component` per route that met an image.
    """
    components: list[Component] = []
    total: AttackResult | None = None
    rows = torch.arange(len(images), device=images.device)
    for number, route in enumerate(routes):
        # a search without gradients finds the same along every route
        once = attack if number == 0 else following(attack)
        if once is None:
            break
        result = route.run(once, images[rows], labels[rows])
        broken = int(result.success.sum())
        components.append(Component(surrogate=route.name, loss=route.loss, attacked=len(rows), broken=broken))
        total = result if total is None else merge(total, result, rows)
        rows = rows[~result.success]
        if not len(rows):
            break
    assert total is not None
    return total, components


def following(attack: Attack) -> Attack | None:
    """The part of ``attack`` that follows gradients; ``None`` if none does."""
    return _without(attack, "square") if attack.differentiates else None


def ascending(attack: Attack) -> Attack | None:
    """The part of ``attack`` that climbs a loss, for which any helpful direction will do, if any.

    FAB does not: it takes the gradient for the boundary's slope, which an approximation of it is not.
    """
    return _without(attack, "square", "fab", "fab-t") if attack.differentiates else None


def _without(attack: Attack, *members: str) -> Attack | None:
    if not isinstance(attack, AutoAttack):
        return attack
    left = tuple(name for name in attack.attacks if name not in members)
    if left == tuple(attack.attacks):
        return attack
    return replace(attack, version="custom", attacks=left) if left else None


def direct(
    model: nn.Module, *, name: str = "own", surrogate: str | None = None, loss: str | None = None
) -> Route:
    """Attack ``model`` itself, with another derivative of the spike or another loss if given.

    Samples leave at their first success, where the attack can do that; not under a surrogate that remembers
    each sample from iteration to iteration.
    """
    remembers = surrogate is not None and parse_surrogate(surrogate).remembers

    def run(attack: Attack, images: Tensor, labels: Tensor) -> AttackResult:
        settings: dict[str, Any] = {}
        if loss is not None:
            settings["loss"] = loss
        if has_setting(attack, "stop_early"):
            settings["stop_early"] = not remembers
        with surrogate_gradient(model, surrogate) if surrogate else contextlib.nullcontext():
            return replace(attack, **settings)(model, images, labels)

    return Route(surrogate or name, loss or "own", run)


def has_setting(attack: Attack, name: str) -> bool:
    """Whether ``attack`` has a setting called ``name``."""
    return any(field.name == name for field in fields(attack))
