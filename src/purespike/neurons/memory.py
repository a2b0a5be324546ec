"""What the neurons of a layer remember from one gradient to the next, for surrogates that look back."""

from typing import Any

import torch
from torch import Tensor

from purespike.neurons.compiled import run
from purespike.neurons.dynamics import Settings, input_current, membrane_potentials
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
        self,
        tensors: tuple[Tensor, ...],
        settings: Settings,
        surrogate: RememberingSurrogate,
        layout: tuple[Any, ...],
    ) -> Tensor:
        """Take one more run of the layer into account.

        Args:
            tensors: the current, ``[T, M]`` or ``[T, M, C]``, then possibly scale and shift per channel.
            settings: T, thresholds, decay.
            surrogate: says what is remembered.
            layout: shape and memory format that M stands for.

        Returns:
            The values after this run, ``[K·T·V, M]`` or ``[K·T·V, M, C]`` for K thresholds and V values.
        """
        current = tensors[0]
        dtype = torch.promote_types(current.dtype, torch.float32)
        of = (current.shape, layout, dtype, current.device, settings, surrogate)
        values = self._values
        if values is None or of != self._of:
            times = len(settings[1]) * settings[0]
            row = torch.ones_like(current[0], dtype=dtype)
            values = torch.stack([row * first for first in surrogate.initial] * times)
        # a new tensor: the former one may wait in a graph for its backward
        self._values = run(remembered, (values, *tensors), (*settings, surrogate))
        self._of = of
        return self._values


def advance(
    memory: Memory | None,
    tensors: tuple[Tensor, ...],
    settings: Settings,
    surrogate: Surrogate,
    layout: tuple[Any, ...],
) -> list[Tensor]:
    """:meth:`Memory.advance` where there is a memory and ``surrogate`` has a use for it, else nothing."""
    if memory is None or not isinstance(surrogate, RememberingSurrogate):
        return []
    return [memory.advance(tensors, settings, surrogate, layout)]


def remembered(
    tensors: tuple[Tensor, ...],
    time_steps: int,
    thresholds: tuple[float, ...],
    decay: float,
    surrogate: RememberingSurrogate,
) -> Tensor:
    """Values after one more run.

    Args:
        tensors: values before it, ``[K·T·V, M]`` or ``[K·T·V, M, C]``; the current; then possibly scale and
            shift per channel.
        time_steps: T.
        thresholds: V_k.
        decay: d.
        surrogate: says what is remembered.
    """
    values, current, *affine = tensors
    inputs = [input_current(current, affine, t) for t in range(time_steps)]
    after: list[Tensor] = []
    for k, threshold in enumerate(thresholds):
        before = recalled(values, k, len(thresholds), time_steps)
        membranes, _ = membrane_potentials(inputs, threshold, decay)
        for kept, membrane in zip(before, membranes, strict=True):
            after += surrogate.remember(kept, membrane - threshold)
    return torch.stack(after)


def recalled(values: Tensor, threshold: int, thresholds: int, time_steps: int) -> list[tuple[Tensor, ...]]:
    """The values of each step, of the threshold with that number."""
    rows = values.unbind(0)
    count = len(rows) // (thresholds * time_steps)
    first = threshold * time_steps * count
    return [rows[first + t * count : first + (t + 1) * count] for t in range(time_steps)]
