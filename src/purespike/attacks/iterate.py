"""Loss, verdict and input gradient at an iterate, averaged over passes for a stochastic model."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from purespike.attacks.objective import Objective, Reached, finite, gradient_if_any, misses
from purespike.attacks.precision import gradients_in, majority
from purespike.checks import check_labels
from purespike.models.answer import logits_of


@dataclass(frozen=True)
class IterateInfo:
    """Loss, verdict and gradient of a batch of iterates.

    Args:
        losses: mean losses over the passes, ``[N]``.
        success: bool ``[N]``: goal reached in more than half of the passes.
        gradient: gradient of the mean loss, ``[N, C, H, W]``; ``None`` if it was not asked for.
        dropped: number of entries of gradients that were not finite, and are taken as zero.
        reached: whether autograd found a path from the logits to the images, where it was asked to.
    """

    losses: Tensor
    success: Tensor
    gradient: Tensor | None
    dropped: Tensor | None = None
    reached: bool = True


def evaluate_iterate(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    loss: Objective,
    differentiate: bool,
    reached: Reached = misses,
    passes: int = 1,
    precision: str = "fp32",
    check: bool = False,
) -> IterateInfo:
    """Pass ``images`` through ``model``, and differentiate if asked to.

    Args:
        model: images to logits.
        images: iterates, ``[N, C, H, W]``.
        labels: true classes, or the targets of a targeted attack, ``[N]``.
        loss: logits and labels to a value each, ``[N]``.
        differentiate: whether to take the gradient.
        reached: logits and labels to whether the attack has reached its goal with each image, bool ``[N]``;
            by default whether it is misclassified.
        passes: passes that are averaged one after the other: expectation over transformation (Athalye et
            al. 2018), for a stochastic model.
        precision: precision of the passes.
        check: whether the model may have too few classes for the labels.

    Raises:
        InputError: the model has too few classes.
    """
    images = images.detach().requires_grad_(differentiate)
    losses, votes, gradient, dropped = None, None, None, None
    path = True
    with torch.set_grad_enabled(differentiate):
        for _ in range(passes):
            with gradients_in(precision, images):
                logits = logits_of(model, images)
            if check:
                check_labels(labels, count=len(images), classes=logits.shape[1])
            found = loss(logits, labels)
            if differentiate:
                own = gradient_if_any(found, images)
                path = path and own is not None
                part, lost = finite(torch.zeros_like(images) if own is None else own)
                gradient, dropped = _add(gradient, part), _add(dropped, lost)
            losses = _add(losses, found.detach())
            votes = _add(votes, reached(logits.detach(), labels).long())
    assert losses is not None and votes is not None
    if passes > 1:
        losses = losses / passes
        gradient = None if gradient is None else gradient / passes
    return IterateInfo(losses, majority(votes, passes), gradient, dropped, path)


def _add(total: Tensor | None, part: Tensor) -> Tensor:
    return part if total is None else total + part
