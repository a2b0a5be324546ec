"""What a model answers to images, and when an answer is correct."""

import contextlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar

import torch
from torch import Tensor, nn

from purespike.checks import copy_for
from purespike.models.fit import as_logits

Tell = Callable[[int, bool], None]
_told: ContextVar[Tell | None] = ContextVar("told", default=None)


@contextlib.contextmanager
def passes_told(tell: Tell) -> Iterator[None]:
    """Call ``tell`` after every answer inside, with the number of images and whether it is differentiated."""
    token = _told.set(tell)
    try:
        yield
    finally:
        _told.reset(token)


def logits_of(model: nn.Module, images: Tensor) -> Tensor:
    """Logits ``[N, K]`` of ``model``, in float32 or, of a float64 model, in float64; differentiable.

    The model receives a copy, which it may change, in the type of its parameters.

    Args:
        model: images to logits.
        images: ``[N, C, H, W]``.

    Raises:
        InputError: the model returned something else.
    """
    logits = model(copy_for(model, images))
    if tell := _told.get():
        tell(len(images), images.requires_grad)
    logits = as_logits(logits, len(images), type(model).__name__)
    return logits.to(torch.promote_types(logits.dtype, torch.float32))


def correct(logits: Tensor, labels: Tensor) -> Tensor:
    """Whether the logit of its label alone is the largest of each image, and all are finite; bool ``[N]``.

    A tie is no answer: which class ``argmax`` takes depends on the order of the classes.

    Args:
        logits: ``[N, K]``.
        labels: classes, ``[N]``.

    Example:
        >>> correct(torch.tensor([[2.0, 1.0], [1.0, 1.0], [1.0, float("nan")]]), torch.tensor([0, 0, 0]))
        tensor([ True, False, False])
    """
    true, others = _true_and_others(logits, labels)
    return (true > others) & logits.isfinite().all(1)


def tied(logits: Tensor, labels: Tensor) -> Tensor:
    """Whether the logit of its label is the largest one of each image together with another, bool ``[N]``."""
    true, others = _true_and_others(logits, labels)
    return (true == others) & logits.isfinite().all(1)


def _true_and_others(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Logit of the label, and the largest of the other classes, ``[N]`` each."""
    true = logits.gather(1, labels[:, None]).squeeze(1)
    return true, logits.scatter(1, labels[:, None], -torch.inf).amax(1)
