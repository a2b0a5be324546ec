"""The fused step of multi-level firing that tells statistics of its membranes, too, for penalties on them.

One backward takes the gradients of both: membranes are recomputed there, as without it, and no tensor of
their size is written for a statistic.
"""

import functools
import operator
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from purespike.neurons.adjoint import Firing, input_current, membrane_potentials
from purespike.neurons.compiled import run
from purespike.neurons.dynamics import MLF
from purespike.neurons.kernel import run_input_gradient
from purespike.neurons.surrogate import Surrogate

Distances = Sequence[Sequence[Tensor]]
"""Membranes before the reset minus their threshold, of each step and threshold, ``[M, C]`` each."""


@dataclass(frozen=True)
class Statistic(ABC):
    """A few numbers about the membranes of a layer, and what each membrane has to do with them.

    A frozen dataclass of settings, whose methods are made of plain tensor operations: both tiers call them.
    """

    @abstractmethod
    def of(self, distances: Distances) -> Tensor:
        """The value, with at least one dimension."""

    @abstractmethod
    def pulls(
        self, levels: Sequence[Tensor], t: int, steps: int, value: Tensor, gradient: Tensor
    ) -> list[Tensor]:
        """Gradient of the distances of step ``t`` of ``steps``, ``[M, C]`` for each threshold.

        Args:
            levels: the distances of that step, of each threshold.
            t: step.
            steps: T.
            value: what :meth:`of` returned.
            gradient: its gradient, same shape.
        """


def watchable(surrogate: Surrogate) -> bool:
    """Whether :func:`fire_watched` knows the gradient: through time, of each membrane by itself."""
    return surrogate.route == "time" and not surrogate.pooled and not surrogate.remembers


def fire_watched(
    current: Tensor,
    time_steps: int,
    dynamics: MLF,
    surrogate: Surrogate,
    statistics: tuple[Statistic, ...],
    attached: bool = True,
) -> tuple[Tensor, ...]:
    """:func:`~purespike.neurons.kernel.fire`, and statistics of the membranes.

    Args:
        current: input current, ``[time_steps, M, C]``.
        time_steps: T.
        dynamics: thresholds and decay.
        surrogate: derivative of the spike in backward, :func:`watchable`.
        statistics: what is asked of the membranes.
        attached: whether gradients flow through the reset.

    Returns:
        Spike counts, same shape and type as ``current``; then each statistic, in float32, or float64 for a
        float64 current.
    """
    found: tuple[Tensor, ...] = _FireWatched.apply(
        current, (time_steps, dynamics), (surrogate, attached), statistics
    )
    return found


def spikes_and_statistics(
    tensors: tuple[Tensor, ...], time_steps: int, dynamics: MLF, statistics: tuple[Statistic, ...]
) -> tuple[Tensor, ...]:
    """The forward of :func:`fire_watched`; ``tensors`` are the current alone."""
    inputs = [input_current(tensors[0], [], t) for t in range(time_steps)]
    each = [membrane_potentials(inputs, threshold, dynamics.decay)[0] for threshold in dynamics.thresholds]
    steps = [list(zip(step, dynamics.thresholds, strict=True)) for step in zip(*each, strict=True)]
    counts = [functools.reduce(operator.add, [u.clone().ge_(v) for u, v in step]) for step in steps]
    distances = [[u - threshold for u, threshold in step] for step in steps]
    spikes = torch.stack([count.to(tensors[0].dtype) for count in counts])
    return spikes, *(statistic.of(distances) for statistic in statistics)


def pulled_input_gradient(
    tensors: tuple[Tensor, ...],
    time_steps: int,
    dynamics: MLF,
    surrogate: Surrogate,
    attached: bool,
    statistics: tuple[Statistic, ...],
) -> Tensor:
    """The backward of :func:`fire_watched`.

    Args:
        tensors: the current, the gradient of the spikes, the value of each statistic, the gradient of each.
        time_steps: T.
        dynamics: thresholds and decay.
        surrogate: backpropagates through time.
        attached: whether gradients flow through the reset.
        statistics: what was asked.
    """
    current, output_gradient, *others = tensors
    known = list(zip(statistics, others[: len(statistics)], others[len(statistics) :], strict=True))
    inputs = [input_current(current, [], t) for t in range(time_steps)]
    each = [membrane_potentials(inputs, threshold, dynamics.decay) for threshold in dynamics.thresholds]
    pulls: list[list[Tensor]] = []
    for t in range(time_steps):
        levels = [
            membranes[t] - threshold
            for (membranes, _), threshold in zip(each, dynamics.thresholds, strict=True)
        ]
        asked = [each.pulls(levels, t, time_steps, value, gradient) for each, value, gradient in known]
        pulls.append([functools.reduce(operator.add, parts) for parts in zip(*asked, strict=True)])
    totals: list[Tensor] = []
    for k, ((membranes, silent), threshold) in enumerate(zip(each, dynamics.thresholds, strict=True)):
        neurons = threshold, dynamics.decay, None, attached, [step[k] for step in pulls]
        gradients = surrogate.input_gradients(Firing(inputs, membranes, silent, output_gradient, *neurons))
        totals = [a + b for a, b in zip(totals, gradients, strict=True)] if totals else gradients
    return torch.stack([total.to(current.dtype) for total in totals])


class _FireWatched(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        current: Tensor,
        settings: tuple[int, MLF],
        derivative: tuple[Surrogate, bool],
        statistics: tuple[Statistic, ...],
    ) -> tuple[Tensor, ...]:
        ctx.settings, ctx.derivative, ctx.statistics = settings, derivative, statistics
        ctx.set_materialize_grads(False)
        constants = (*settings, statistics)
        spikes, *values = run(spikes_and_statistics, (current.detach(),), constants, split=False)
        ctx.save_for_backward(current, *values)
        return spikes, *values

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, output_gradient: Tensor | None, *found: Tensor | None
    ) -> tuple[Tensor | None, None, None, None]:
        current, *values = ctx.saved_tensors
        given = torch.zeros_like(current) if output_gradient is None else output_gradient.contiguous()
        settings = (*ctx.settings, *ctx.derivative)
        if all(gradient is None for gradient in found):
            return run_input_gradient((current, given), (*settings, False)), None, None, None
        gradients = [
            torch.zeros_like(value) if gradient is None else gradient.contiguous()
            for value, gradient in zip(values, found, strict=True)
        ]
        tensors = (current, given, *values, *gradients)
        constants = (*settings, ctx.statistics)
        return run(pulled_input_gradient, tensors, constants, split=False), None, None, None
