"""What a model tells of an iterate: loss, verdict and gradient, averaged over passes if it draws."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from purespike.attacks.objective import Objective, input_gradient
from purespike.attacks.precision import gradients_in, mostly
from purespike.checks import check_labels


@dataclass(frozen=True)
class Look:
    """What was seen.

    Args:
        losses: mean over the passes, ``[N]``.
        wrong: bool ``[N]``: misclassified in more than half of the passes.
        gradient: of the mean loss, ``[N, C, H, W]``; ``None`` if it was not asked for.
    """

    losses: Tensor
    wrong: Tensor
    gradient: Tensor | None


def look(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    loss: Objective,
    differentiate: bool,
    passes: int = 1,
    precision: str = "fp32",
    check: bool = False,
) -> Look:
    """Pass ``images`` through ``model``, forth and if asked back.

    Args:
        model: images to logits.
        images: ``[N, C, H, W]``.
        labels: true classes, ``[N]``.
        loss: logits and labels to a value each, ``[N]``.
        differentiate: whether to take the gradient.
        passes: looks that are averaged, one after the other: expectation over transformation (Athalye et
            al. 2018), for a model that draws.
        precision: of the passes.
        check: whether the model may have too few classes for the labels.

    Raises:
        InputError: it does.
    """
    images = images.detach().requires_grad_(differentiate)
    losses, votes, gradient = None, None, None
    with torch.set_grad_enabled(differentiate):
        for _ in range(passes):
            with gradients_in(precision, images):
                logits = model(images)
            if check:
                check_labels(labels, count=len(images), classes=logits.shape[1])
            found = loss(logits.float(), labels)
            if differentiate:
                gradient = _add(gradient, input_gradient(found, images))
            losses = _add(losses, found.detach())
            wrong = logits.argmax(1) != labels
            votes = wrong if passes == 1 else _add(votes, wrong.long())
    assert losses is not None and votes is not None
    if passes > 1:
        losses, votes = losses / passes, mostly(votes, passes)
        gradient = None if gradient is None else gradient / passes
    return Look(losses, votes, gradient)


def _add(total: Tensor | None, part: Tensor) -> Tensor:
    return part if total is None else total + part
