"""What the last linear layer of a classifier gets, whoever built it."""

from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor, nn

from purespike.errors import InputError


class Features:
    """Records, inside its block, what enters the last linear layer of ``classifier`` in each of its calls.

    Args:
        classifier: any module.
        wanted: whether to record at all.

    Raises:
        InputError: no linear layer.
    """

    def __init__(self, classifier: nn.Module | None, *, wanted: bool) -> None:
        self.values: list[Tensor] = []
        self._layer: nn.Module | None = None
        if wanted and classifier is not None:
            layers = [module for module in classifier.modules() if isinstance(module, nn.Linear)]
            if not layers:
                raise InputError(
                    f"features: {type(classifier).__name__} has no torch.nn.Linear, whose input they are; "
                    "set the weight to 0"
                )
            self._layer = layers[-1]

    def __enter__(self) -> Self:
        if self._layer is not None:
            self._handle = self._layer.register_forward_pre_hook(self._record)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._layer is not None:
            self._handle.remove()

    def pair(self) -> tuple[Tensor, Tensor]:
        """What entered it in the first and in the second of two forwards, ``[calls, ...]``."""
        half = len(self.values) // 2
        return torch.stack(self.values[:half]), torch.stack(self.values[half:])

    def _record(self, layer: nn.Module, inputs: tuple[Any, ...]) -> None:
        self.values.append(inputs[0])
