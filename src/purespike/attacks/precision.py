"""Precision of an attack: gradients in half precision if asked for, successes always in full."""

import contextlib

import torch
from torch import Tensor, nn

from purespike.attacks.objective import Reached, misses
from purespike.errors import unknown
from purespike.models.answer import logits_of

PRECISIONS = ("fp32", "bf16")


def check_precision(precision: str) -> str:
    """Return ``precision`` if it is ``"fp32"`` or ``"bf16"``.

    Raises:
        InputError: anything else.
    """
    if precision not in PRECISIONS:
        raise unknown("attack precision", precision, PRECISIONS)
    return precision


def is_reduced_precision(precision: str, images: Tensor) -> bool:
    """Whether :func:`gradients_in` runs below the model's own precision, so that successes need a check."""
    return precision == "bf16" or torch.is_autocast_enabled(images.device.type)


def gradients_in(precision: str, images: Tensor) -> contextlib.AbstractContextManager[None]:
    """Forwards inside run in ``precision``, or in the autocast that is on already."""
    if precision == "bf16":
        return torch.autocast(images.device.type, torch.bfloat16)
    return contextlib.nullcontext()


@torch.no_grad()
def full_precision_logits(model: nn.Module, images: Tensor) -> Tensor:
    """Logits of ``model`` in its own precision, whatever the attack runs in."""
    with torch.autocast(images.device.type, enabled=False):
        return logits_of(model, images)


def misclassified(model: nn.Module, images: Tensor, labels: Tensor, *, passes: int = 1) -> Tensor:
    """Whether ``model`` in its own precision errs on each image, in most of ``passes``; bool ``[N]``."""
    return achieved(model, images, labels, passes=passes)


def achieved(
    model: nn.Module, images: Tensor, labels: Tensor, *, reached: Reached = misses, passes: int = 1
) -> Tensor:
    """Whether an attack has succeeded with each image in most of ``passes``, in full precision; bool ``[N]``.

    Args:
        model: images to logits.
        images: ``[N, C, H, W]``.
        labels: true classes, or the targets of a targeted attack, ``[N]``.
        reached: logits and labels to whether the goal is reached with each image, bool ``[N]``.
        passes: forward passes of a stochastic model.
    """
    votes = torch.zeros_like(labels)
    for _ in range(passes):
        votes += reached(full_precision_logits(model, images), labels)
    return majority(votes, passes)


def majority(votes: Tensor, passes: int) -> Tensor:
    """Whether more than half of ``passes`` voted so: a tie counts for the model."""
    return 2 * votes > passes
