"""The adaptive attacker, who knows everything and chooses the surrogate and the loss: the worst case."""

from collections.abc import Sequence

from torch import Tensor, nn

from purespike.attacks.protocol import Attack, has_setting
from purespike.attacks.result import AttackResult
from purespike.attacks.routes import Component, Route, direct, run_routes
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
    """Attack with every surrogate and loss; each pair meets only the images not broken so far.

    Args:
        model: images to logits, differentiable end to end.
        images: ``[N, C, H, W]`` floats in [0, 1].
        labels: true classes, ``[N]``.
        attack: attack that is run once per pair, stopping at a sample's first success where it can.
        surrogates: surrogates that the attacker differentiates in place of the spike, ``"atan(alpha=2)"``.
        losses: names of attack losses.

    Returns:
        See :func:`purespike.attacks.routes.run_routes`.

    Raises:
        InputError: no surrogate or no loss, or an error of ``attack``.
    """
    routes = adaptive_routes(model, attack, surrogates=surrogates, losses=losses)
    return run_routes(routes, images, labels, attack=attack)
