"""Values that the neurons of a layer keep from one gradient to the next, for surrogates that look back."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from purespike.neurons.adjoint import input_current, membrane_potentials
from purespike.neurons.compiled import run
from purespike.neurons.dynamics import MLF
from purespike.neurons.surrogate import RememberingSurrogate, Surrogate


class Memory:
    """Values per threshold, time step and neuron of each sample; no part of any graph.

    They hold for one batch. A current of another shape, memory format, type or device, or other settings,
    cannot be matched with them and begins afresh.
    """

    def __init__(self) -> None:
        self._values: Tensor | None = None
        self._of: tuple[Any, ...] = ()

    def advance(
        self, of: tuple[Any, ...], start: Callable[[], Tensor], move: Callable[[Tensor], Tensor]
    ) -> Tensor:
        """Take one more run of the layer into account.

        Args:
            of: identity of the run; values of another are forgotten.
            start: values before the first run.
            move: values after one more run, given those before it.

        Returns:
            The values after this run.
        """
        if self._values is None or of != self._of:
            self._values = start()
        # a new tensor: the former one may wait in a graph for its backward
        self._values = move(self._values)
        self._of = of
        return self._values


def advance(
    memory: Memory | None,
    tensors: tuple[Tensor, ...],
    settings: tuple[int, MLF],
    surrogate: Surrogate,
    layout: tuple[Any, ...],
) -> list[Tensor]:
    """:meth:`Memory.advance` for multi-level firing, where there is a memory and ``surrogate`` remembers.

    Args:
        memory: memory of the layer, if any.
        tensors: the current, ``[T, M]`` or ``[T, M, C]``, then possibly scale and shift per channel.
        settings: T and dynamics.
        surrogate: says which values are kept.
        layout: shape and memory format that M stands for.

    Returns:
        The values after this run, ``[K·T·V, M]`` or ``[K·T·V, M, C]`` for K thresholds and V values; else
        nothing.
    """
    if memory is None or not isinstance(surrogate, RememberingSurrogate):
        return []
    current = tensors[0]
    dtype = torch.promote_types(current.dtype, torch.float32)

    def start() -> Tensor:
        row = torch.ones_like(current[0], dtype=dtype)
        return torch.stack([row * first for first in surrogate.initial] * settings[1].levels * settings[0])

    def move(values: Tensor) -> Tensor:
        return run(remembered, (values, *tensors), (*settings, surrogate))

    return [memory.advance((current.shape, layout, dtype, current.device, settings, surrogate), start, move)]


def remembered(
    tensors: tuple[Tensor, ...],
    time_steps: int,
    dynamics: MLF,
    surrogate: RememberingSurrogate,
) -> Tensor:
    """Values after one more run.

    Args:
        tensors: values before it, ``[K·T·V, M]`` or ``[K·T·V, M, C]``; the current; then possibly scale and
            shift per channel.
        time_steps: T.
        dynamics: thresholds and decay.
        surrogate: says which values are kept.
    """
    values, current, *affine = tensors
    inputs = [input_current(current, affine, t) for t in range(time_steps)]
    after: list[Tensor] = []
    for k, threshold in enumerate(dynamics.thresholds):
        before = recalled(values, k, dynamics.levels, time_steps)
        membranes, _ = membrane_potentials(inputs, threshold, dynamics.decay)
        for kept, membrane in zip(before, membranes, strict=True):
            after += surrogate.remember(kept, membrane - threshold)
    return torch.stack(after)


def recalled(values: Tensor, threshold: int, thresholds: int, time_steps: int) -> list[tuple[Tensor, ...]]:
    """The values of each step, of the threshold with that number."""
    rows = values.unbind(0)
    count = len(rows) // (thresholds * time_steps)
    first = threshold * time_steps * count
    return [rows[first + t * count : first + (t + 1) * count] for t in range(time_steps)]
