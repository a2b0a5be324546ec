"""The fused step of multi-level firing that returns the membranes, too, for penalties on them.

One backward takes the gradients of both; membranes are recomputed there, as without it.
"""

import functools
import operator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from purespike.neurons.adjoint import Firing, input_current, membrane_potentials
from purespike.neurons.compiled import run
from purespike.neurons.dynamics import MLF
from purespike.neurons.kernel import run_input_gradient
from purespike.neurons.surrogate import Surrogate


def watchable(surrogate: Surrogate) -> bool:
    """Whether :func:`fire_watched` knows the gradient: through time, of each membrane by itself."""
    return surrogate.route == "time" and not surrogate.pooled and not surrogate.remembers


def fire_watched(
    current: Tensor, time_steps: int, dynamics: MLF, surrogate: Surrogate, attached: bool = True
) -> tuple[Tensor, Tensor]:
    """:func:`~purespike.neurons.kernel.fire`, and the membranes before the reset minus their threshold.

    Args:
        current: input current, ``[time_steps, ...]``.
        time_steps: T.
        dynamics: thresholds and decay.
        surrogate: derivative of the spike in backward, :func:`watchable`.
        attached: whether gradients flow through the reset.

    Returns:
        Spike counts, same shape and type as ``current``; and distances ``[T, K, ...]`` for K thresholds, in
        float32, or float64 for a float64 current.
    """
    found: tuple[Tensor, Tensor] = _FireWatched.apply(current, (time_steps, dynamics), (surrogate, attached))
    return found


def spikes_and_distances(
    tensors: tuple[Tensor, ...], time_steps: int, dynamics: MLF
) -> tuple[Tensor, Tensor]:
    """The forward of :func:`fire_watched`; ``tensors`` are the current alone."""
    inputs = [input_current(tensors[0], [], t) for t in range(time_steps)]
    each = [membrane_potentials(inputs, threshold, dynamics.decay)[0] for threshold in dynamics.thresholds]
    steps = [list(zip(step, dynamics.thresholds, strict=True)) for step in zip(*each, strict=True)]
    distances = torch.stack([torch.stack([u - threshold for u, threshold in step]) for step in steps])
    counts = [functools.reduce(operator.add, [u.clone().ge_(v) for u, v in step]) for step in steps]
    return torch.stack([count.to(tensors[0].dtype) for count in counts]), distances


def pulled_input_gradient(
    tensors: tuple[Tensor, ...], time_steps: int, dynamics: MLF, surrogate: Surrogate, attached: bool
) -> Tensor:
    """The backward of :func:`fire_watched`.

    Args:
        tensors: the current, the gradient of the spikes and that of the distances.
        time_steps: T.
        dynamics: thresholds and decay.
        surrogate: backpropagates through time.
        attached: whether gradients flow through the reset.
    """
    current, output_gradient, pull = tensors
    inputs = [input_current(current, [], t) for t in range(time_steps)]
    totals: list[Tensor] = []
    for k, threshold in enumerate(dynamics.thresholds):
        membranes, silent = membrane_potentials(inputs, threshold, dynamics.decay)
        neurons = threshold, dynamics.decay, None, attached, pull[:, k]
        gradients = surrogate.input_gradients(Firing(inputs, membranes, silent, output_gradient, *neurons))
        totals = [a + b for a, b in zip(totals, gradients, strict=True)] if totals else gradients
    return torch.stack([total.to(current.dtype) for total in totals])


class _FireWatched(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, current: Tensor, settings: tuple[int, MLF], derivative: tuple[Surrogate, bool]
    ) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(current)
        ctx.settings, ctx.derivative = settings, derivative
        ctx.set_materialize_grads(False)
        return run(spikes_and_distances, (current.detach(),), settings, split=False)

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, output_gradient: Tensor | None, pull: Tensor | None
    ) -> tuple[Tensor | None, None, None]:
        (current,) = ctx.saved_tensors
        given = torch.zeros_like(current) if output_gradient is None else output_gradient.contiguous()
        if pull is None:
            return run_input_gradient((current, given), (*ctx.settings, *ctx.derivative, False)), None, None
        tensors = (current, given, pull.contiguous())
        settings = (*ctx.settings, *ctx.derivative)
        return run(pulled_input_gradient, tensors, settings, split=False), None, None
