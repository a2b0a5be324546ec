"""What an objective takes and returns."""

from collections.abc import Callable
from typing import NamedTuple, Protocol

from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

Criterion = Callable[[Tensor, Tensor], Tensor]
"""Logits ``[N, K]`` and labels ``[N]`` to a scalar: cross-entropy, or with smoothed labels."""


class Step(NamedTuple):
    """One batch, on its way to a gradient.

    ``loss``: scalar, to be minimised. ``right``: how many images were classified correctly in training mode,
    by what is said of them (``"accuracy"`` for clean ones, ``"adversarial_accuracy"``). ``passes``: forward
    and backward passes of one image through the network, crafting included.
    """

    loss: Tensor
    right: dict[str, Tensor]
    passes: int


class Objective(Protocol):
    """A way to train."""

    def __call__(self, model: nn.Module, images: Tensor, labels: Tensor, *, seed: int) -> Step:
        """The loss of a batch.

        Args:
            model: images to logits, in training mode; wrapped for several processes or not.
            images: ``[N, C, H, W]`` floats in [0, 1].
            labels: true classes, ``[N]``.
            seed: of whatever is drawn.
        """


def hits(logits: Tensor, labels: Tensor) -> Tensor:
    """How many logits are largest at their label."""
    return (logits.argmax(1) == labels).sum()


def bare(model: nn.Module) -> nn.Module:
    """``model`` without the wrapper of several processes, which an attack's passes do not concern."""
    return model.module if isinstance(model, DistributedDataParallel) else model
