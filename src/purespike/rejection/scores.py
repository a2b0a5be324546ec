"""The scores by which images are rejected or purified; all are differentiable, as an attacker needs them."""

from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional

from purespike.attacks.gradient import SignAttack
from purespike.attacks.objective import margin
from purespike.budget import parse_eps
from purespike.checks import copy_for
from purespike.errors import InputError
from purespike.models.answer import logits_of
from purespike.neurons.neuron import SpikingNeuron
from purespike.rejection.registry import score
from purespike.rejection.seen import Seen


@score("Purification distance", needs_purifier=True)
def purification_distance(seen: Seen) -> Tensor:
    r"""Root mean square of the change that the purifier makes to each image.

    .. math:: \sqrt{\tfrac{1}{CHW}\sum (P(x) - x)^2}
    """
    change = (seen.purified - seen.images).flatten(1)
    # whose derivative at zero is zero
    return torch.linalg.vector_norm(change, dim=1) / change.shape[1] ** 0.5


@score("Mean estimated noise", needs_purifier=True)
def noise_mean(seen: Seen) -> Tensor:
    """Mean of the noise level that the purifier's estimator sees in each image."""
    return seen.noise_level.flatten(1).mean(1)


@score("Largest estimated noise", needs_purifier=True)
def noise_max(seen: Seen) -> Tensor:
    """L∞ norm of the estimated noise level: the criterion of joint detection (arXiv 2404.17092 v2)."""
    return seen.noise_level.flatten(1).abs().amax(1)


@score("Disagreement", needs_purifier=True)
def disagreement(seen: Seen) -> Tensor:
    r"""Divergence of the predictions with and without purification, :math:`KL(f(x) \| f(P(x)))`."""
    before, after = seen.bare_logits.log_softmax(1), seen.purified_logits.log_softmax(1)
    return functional.kl_div(after, before, reduction="none", log_target=True).sum(1)


def firing(seen: Seen) -> Tensor:
    """Firing rate of each layer of neurons on each image, ``[N, L]``, in the order of execution.

    Raises:
        InputError: the model has no neurons of purespike.
    """
    rates: list[Tensor] = []

    def record(module: SpikingNeuron, inputs: object, spikes: Tensor) -> None:
        steps = module.time_steps
        over_time = spikes if steps is None else spikes.unflatten(0, (steps, -1))
        rates.append(over_time.transpose(0, 1).flatten(1).float().mean(1) / module.levels)

    hooks = [
        module.register_forward_hook(record)
        for module in seen.model.modules()
        if isinstance(module, SpikingNeuron)
    ]
    if not hooks:
        raise InputError("score firing_rate: the model has no spiking neurons of purespike; choose another")
    try:
        seen.model(copy_for(seen.model, seen.images))
    finally:
        for hook in hooks:
            hook.remove()
    return torch.stack(rates, 1)


@score("Firing-rate shift", learn=firing)
def firing_rate(seen: Seen, *, reference: Tensor) -> Tensor:
    """Root mean square over layers of the distance to the mean firing rate on clean images."""
    shift = firing(seen) - reference
    return torch.linalg.vector_norm(shift, dim=1) / shift.shape[1] ** 0.5


@score("Prediction change")
def prediction_change(seen: Seen, *, eps: float | str = "4/255", steps: int = 5) -> Tensor:
    """Margin by which a short attack on the predicted class changes the prediction (CPR, Chen et al. 2023).

    Positive where the prediction changes. The gradient that an attacker sees takes the attack inside as a
    constant shift of the image.

    Args:
        seen: images and their model.
        eps: L∞ budget of the attack inside.
        steps: its steps, from the image itself; their size is ``2 * eps / steps``.
    """
    attack = SignAttack(eps=parse_eps(eps), steps=steps)
    attack = replace(attack, step_size=2 * attack.step_length)
    predicted = seen.logits.argmax(1)
    images = seen.images.detach()
    moved = attack.perturb(seen.model, images, predicted)
    return margin(logits_of(seen.model, seen.images + (moved - images)), predicted)
