"""Routes to a gradient: an attacker tries one after another, each on the images not broken so far."""

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from purespike.attacks.protocol import Attack, has_setting
from purespike.attacks.result import AttackResult, merge
from purespike.attacks.run import run_attack, verified
from purespike.neurons import Reset, parse_surrogate, surrogate_gradient
from purespike.neurons.compiled import expecting
from purespike.results import Component


@dataclass(frozen=True)
class Route:
    """One attempt: its names for reports, and a function that runs an attack along it.

    Args:
        name: the surrogate, the approximation or the substitute that is differentiated; ``"own"`` for none.
        loss: the loss that is maximised, ``"own"`` for the attack's.
        run: function that attacks images ``[N, C, H, W]`` of labels ``[N]`` with the attack given; the
            defended model judges its success.
        reset: reset of the neurons that is differentiated; ``None`` for their own.
    """

    name: str
    loss: str
    run: Callable[[Attack, Tensor, Tensor], AttackResult]
    reset: Reset | None = None


def run_routes(
    routes: Sequence[Route],
    images: Tensor,
    labels: Tensor,
    *,
    attack: Attack,
    judge: nn.Module | None = None,
) -> tuple[AttackResult, list[Component]]:
    """Attack along every route; each meets only the images that the former ones did not break.

    Args:
        routes: at least one.
        images: ``[N, C, H, W]`` floats in [0, 1].
        labels: true classes, ``[N]``.
        attack: attack that is run once per route.
        judge: model that judges the results anew, of routes from outside the library; ``None`` for routes
            that do so themselves.

    Returns:
        The combined result, whose outcome is the worst case per image and whose trace is that of the first
        route, and one :class:`Component` per route that attacked an image.
    """
    components: list[Component] = []
    total: AttackResult | None = None
    rows = torch.arange(len(images), device=images.device)
    for number, route in enumerate(routes):
        # a search without gradients finds the same along every route
        once = attack if number == 0 else attack.gradient_part()
        if once is None:
            break
        result = route.run(once, images[rows], labels[rows])
        if judge is not None:
            result = verified(result, once, judge, images[rows], labels[rows], maker=f"route {route.name}")
        broken = int(result.broken.sum())
        names: dict[str, Any] = {"surrogate": route.name, "loss": route.loss}
        if route.reset is not None:
            names["reset"] = route.reset
        components.append(Component(**names, attacked=len(rows), broken=broken))
        total = result if total is None else merge(total, result, rows)
        rows = rows[~result.broken]
        if not len(rows):
            break
    assert total is not None
    return total, components


def direct(
    model: nn.Module,
    *,
    name: str = "own",
    surrogate: str | None = None,
    loss: str | None = None,
    reset: Reset | None = None,
) -> Route:
    """Attack ``model`` itself, with another derivative of the spike, reset or loss if given.

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
        exchanged = surrogate is not None or reset is not None
        with (
            surrogate_gradient(model, surrogate, reset=reset) if exchanged else contextlib.nullcontext(),
            expecting(attack.passes),
        ):
            return run_attack(replace(attack, **settings), model, images, labels)

    return Route(surrogate or name, loss or "own", run, reset)
