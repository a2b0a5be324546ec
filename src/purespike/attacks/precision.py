"""Gradients of an attack in half precision; its successes always in float32."""

import contextlib

import torch
from torch import Tensor, nn

from purespike.errors import unknown

PRECISIONS = ("fp32", "bf16")


def check_precision(precision: str) -> str:
    """Return ``precision`` if it is ``"fp32"`` or ``"bf16"``.

    Raises:
        InputError: anything else.
    """
    if precision not in PRECISIONS:
        raise unknown("attack precision", precision, PRECISIONS)
    return precision


def rough(precision: str, images: Tensor) -> bool:
    """Whether :func:`gradients_in` works below the model's own precision, so that others must judge."""
    return precision == "bf16" or torch.is_autocast_enabled(images.device.type)


def gradients_in(precision: str, images: Tensor) -> contextlib.AbstractContextManager[None]:
    """Forwards inside run in ``precision``, or in the autocast that is on already."""
    if precision == "bf16":
        return torch.autocast(images.device.type, torch.bfloat16)
    return contextlib.nullcontext()


@torch.no_grad()
def own_logits(model: nn.Module, images: Tensor) -> Tensor:
    """Logits of ``model`` in its own precision, whatever the attack runs in."""
    with torch.autocast(images.device.type, enabled=False):
        logits: Tensor = model(images)
    return logits


def misclassified(model: nn.Module, images: Tensor, labels: Tensor, *, passes: int = 1) -> Tensor:
    """Whether ``model`` in its own precision errs on each image, in most of ``passes``; bool ``[N]``."""
    if passes == 1:
        return own_logits(model, images).argmax(1) != labels
    votes = torch.zeros_like(labels)
    for _ in range(passes):
        votes += own_logits(model, images).argmax(1) != labels
    return mostly(votes, passes)


def mostly(votes: Tensor, passes: int) -> Tensor:
    """Whether more than half of ``passes`` voted so: a tie counts for the model."""
    return 2 * votes > passes
