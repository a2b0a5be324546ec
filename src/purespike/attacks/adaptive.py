"""The attacker who knows everything and chooses what to differentiate: the worst of all choices."""

from collections.abc import Sequence

from torch import Tensor, nn

from purespike.attacks.registry import Attack
from purespike.attacks.result import AttackResult
from purespike.attacks.routes import Component, Route, direct, follow, has_setting
from purespike.errors import InputError
from purespike.neurons import spiking_neurons


def adaptive_routes(
    model: nn.Module, attack: Attack, *, surrogates: Sequence[str], losses: Sequence[str]
) -> list[Route]:
    """``model`` under every surrogate and loss.

    A model without our neurons has one gradient only, and an attack without a loss setting one loss.

    Raises:
        InputError: no surrogate or no loss, or an unknown surrogate.
    """
    if not surrogates or not losses:
        raise InputError("adaptive: needs at least one surrogate and one loss")
    return [
        direct(model, surrogate=surrogate, loss=loss)
        for surrogate in (surrogates if spiking_neurons(model) else [None])
        for loss in (losses if has_setting(attack, "loss") else [None])
    ]


def worst_case(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    attack: Attack,
    surrogates: Sequence[str],
    losses: Sequence[str] = ("ce", "margin"),
) -> tuple[AttackResult, list[Component]]:
    """Attack with every surrogate and loss; each pair meets only what the former ones left standing.

    Args:
        model: images to logits, differentiable end to end.
        images: ``[N, C, H, W]`` floats in [0, 1].
        labels: true classes, ``[N]``.
        attack: run once per pair, stopping at a sample's first success where it can.
        surrogates: what the attacker differentiates in place of the spike, e.g. ``"atan(alpha=2)"``.
        losses: names of attack losses.

    Returns:
        See :func:`purespike.attacks.routes.follow`.

    Raises:
        InputError: no surrogate or no loss, or what ``attack`` raises.
    """
    routes = adaptive_routes(model, attack, surrogates=surrogates, losses=losses)
    return follow(routes, images, labels, attack=attack)
