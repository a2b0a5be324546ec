"""The adaptive attacker, who knows everything and chooses the surrogate and the loss: the worst case."""

from collections.abc import Sequence

from torch import Tensor, nn

from purespike.attacks.bpda import GuessBackward, guess_of
from purespike.attacks.protocol import Attack, has_setting
from purespike.attacks.result import AttackResult
from purespike.attacks.routes import Component, Route, direct, run_routes
from purespike.errors import InputError
from purespike.neurons import Reset, accepted, exchangeable_neurons, other_resets, parse_surrogate


def adaptive_routes(
    model: nn.Module,
    attack: Attack,
    *,
    surrogates: Sequence[str],
    losses: Sequence[str],
    both_resets: bool = True,
) -> list[Route]:
    """``model`` under every surrogate and loss; then the same with the other reset of its neurons.

    A model none of whose neurons takes another surrogate has one gradient only, and an attack without a loss
    setting one loss. The reset matters to surrogates that differentiate through time. Where a purifier has an
    encoder, its guess is differentiated as well, with the surrogate that it was trained with.

    Args:
        model: images to logits.
        attack: attack that follows the routes.
        surrogates: surrogates that are differentiated; those that no neuron of another library takes are left
            out.
        losses: names of attack losses.
        both_resets: whether to try the reset that the neurons were not trained with as well.

    Raises:
        InputError: no surrogate or no loss, or an unknown surrogate.
    """
    if not losses or (exchangeable_neurons(model) and not surrogates):
        raise InputError("adaptive: needs at least one surrogate and one loss")
    names = accepted(model, surrogates)
    through_time = [name for name in names if parse_surrogate(name).route == "time"]
    others = other_resets(model) if both_resets else ()
    gradients: list[tuple[str | None, Reset | None]] = [(name, None) for name in names or (None,)]
    gradients += [(name, reset) for reset in others for name in through_time]
    tried = losses if has_setting(attack, "loss") else [None]
    routes = [
        direct(model, surrogate=surrogate, loss=loss, reset=reset)
        for surrogate, reset in gradients
        for loss in tried
    ]
    guess = guess_of(model)
    return routes if guess is None else routes + guess_routes(GuessBackward(model, guess), tried)


def guess_routes(model: GuessBackward, losses: Sequence[str | None]) -> list[Route]:
    """``model``, whose gradient is its purifier's guess, with every loss; its own surrogates are kept."""
    return [direct(model, name="guess", loss=loss) for loss in losses]


def worst_case(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    attack: Attack,
    surrogates: Sequence[str],
    losses: Sequence[str] = ("ce", "margin"),
    both_resets: bool = True,
) -> tuple[AttackResult, list[Component]]:
    """Attack with every surrogate, reset and loss; each meets only the images not broken so far.

    Args:
        model: images to logits, differentiable end to end.
        images: ``[N, C, H, W]`` floats in [0, 1].
        labels: true classes, ``[N]``.
        attack: attack that is run once for each, stopping at a sample's first success where it can.
        surrogates: surrogates that the attacker differentiates in place of the spike, ``"atan(alpha=2)"``.
        losses: names of attack losses.
        both_resets: whether to try the reset that the neurons were not trained with as well.

    Returns:
        See :func:`purespike.attacks.routes.run_routes`.

    Raises:
        InputError: no surrogate or no loss, or an error of ``attack``.
    """
    routes = adaptive_routes(model, attack, surrogates=surrogates, losses=losses, both_resets=both_resets)
    return run_routes(routes, images, labels, attack=attack)
