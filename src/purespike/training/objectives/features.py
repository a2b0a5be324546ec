"""What a layer gets and gives in a forward, and so what the last linear layer of a classifier gets."""

from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor, nn

from purespike.errors import InputError


class Recorded:
    """Records, inside its block, what ``layer`` gets and gives in each of its calls; nothing of ``None``."""

    def __init__(self, layer: nn.Module | None) -> None:
        self.inputs: list[Tensor] = []
        self.outputs: list[Tensor] = []
        self._layer = layer

    def __enter__(self) -> Self:
        if self._layer is not None:
            self._handle = self._layer.register_forward_hook(self._record)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._layer is not None:
            self._handle.remove()

    def _record(self, layer: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> None:
        self.inputs.append(inputs[0])
        self.outputs.append(output)


class Features(Recorded):
    """Records what enters the last linear layer of ``classifier``, whoever built it.

    Args:
        classifier: any module.
        wanted: whether to record at all.

    Raises:
        InputError: no linear layer.
    """

    def __init__(self, classifier: nn.Module | None, *, wanted: bool) -> None:
        super().__init__(_last_linear(classifier) if wanted and classifier is not None else None)

    def pair(self) -> tuple[Tensor, Tensor]:
        """What entered it in the first and in the second of two forwards, ``[calls, ...]``."""
        half = len(self.inputs) // 2
        return torch.stack(self.inputs[:half]), torch.stack(self.inputs[half:])


def _last_linear(classifier: nn.Module) -> nn.Module:
    layers = [module for module in classifier.modules() if isinstance(module, nn.Linear)]
    if not layers:
        raise InputError(
            f"features: {type(classifier).__name__} has no torch.nn.Linear, whose input they are; "
            "set the weight to 0"
        )
    return layers[-1]
