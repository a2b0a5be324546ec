"""The fused multi-level firing step; its backward recomputes the membranes.

Tensors are ``[T, M]``, or ``[T, M, C]`` where an affine map per channel comes first or a surrogate looks at
channels. :func:`spikes` and :func:`input_gradient` are plain tensor operations, for both the eager and the
compiled tier; the eager one takes all thresholds of a small tensor at once, which gives the same bits.
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
from purespike.neurons.memory import Memory, advance, recalled
from purespike.neurons.surrogate import Surrogate

# Elements of one step, over all thresholds, up to which starting an operation costs more than running it.
AT_ONCE = 1 << 16


def fire(
    current: Tensor,
    time_steps: int,
    dynamics: MLF,
    surrogate: Surrogate,
    memory: Memory | None = None,
    layout: tuple[Any, ...] = (),
    attached: bool = True,
) -> Tensor:
    r"""Spikes of :math:`u_k[t] = d\,u_k[t-1](1 - o_k[t-1]) + x[t],\; o_k = [u_k \ge V_k]`, summed over k.

    Only the current is kept for backward, and the values a surrogate remembers. The state is float32, or
    float64 for a float64 current.

    Args:
        current: input current, ``[time_steps, M]`` or ``[time_steps, M, C]``.
        time_steps: T; given apart so that compiled code may unroll it.
        dynamics: thresholds V_k, and d, the paper's k_τ.
        surrogate: derivative of the spike in backward.
        memory: memory of these neurons, for a surrogate that remembers.
        layout: shape and memory format that M stands for.
        attached: whether gradients flow through the reset.

    Returns:
        Spike counts in ``0..K``, same shape and type as ``current``.
    """
    memory = memory if torch.is_grad_enabled() else None
    return _Fire.apply(current, (time_steps, dynamics), (surrogate, attached), memory, layout)


def spikes(tensors: tuple[Tensor, ...], time_steps: int, dynamics: MLF) -> Tensor:
    """The forward of :func:`fire`.

    Args:
        tensors: the current, then possibly scale and shift per channel, ``[C]``, which come first.
        time_steps: T.
        dynamics: thresholds and decay.
    """
    current, *affine = tensors
    inputs = [input_current(current, affine, t) for t in range(time_steps)]
    counts: list[Tensor] = []
    for threshold in dynamics.thresholds:
        membranes, _ = membrane_potentials(inputs, threshold, dynamics.decay)
        fired = [u.clone().ge_(threshold) for u in membranes]
        counts = [a + b for a, b in zip(counts, fired, strict=True)] if counts else fired
    return _stack(counts, current.dtype)


def all_spikes(tensors: tuple[Tensor, ...], time_steps: int, dynamics: MLF) -> Tensor:
    """:func:`spikes`, all thresholds at once."""
    current, *affine = tensors
    thresholds, inputs = _by_threshold(current, affine, time_steps, dynamics)
    membranes, _ = membrane_potentials(inputs, thresholds, dynamics.decay)
    return _stack([u.clone().ge_(thresholds).sum(0) for u in membranes], current.dtype)


def _by_threshold(
    current: Tensor, affine: list[Tensor], time_steps: int, dynamics: MLF
) -> tuple[Tensor, list[Tensor]]:
    """The thresholds ``[K, 1, ...]``, and inputs whose first one has them as its first dimension."""
    first, *later = (input_current(current, affine, t) for t in range(time_steps))
    thresholds = _thresholds(dynamics, first.dtype, first.ndim)
    return thresholds, [first.expand(dynamics.levels, *first.shape), *later]


@functools.lru_cache(maxsize=64)
def _thresholds(dynamics: MLF, dtype: torch.dtype, dimensions: int) -> Tensor:
    with torch.inference_mode(False):
        return torch.tensor(dynamics.thresholds, dtype=dtype).view(-1, *[1] * dimensions)


def run_spikes(tensors: tuple[Tensor, ...], time_steps: int, dynamics: MLF) -> Tensor:
    """:func:`spikes` in the tier that suits the tensors."""
    eager = all_spikes if _small(tensors[0], dynamics) else spikes
    return run(spikes, tensors, (time_steps, dynamics), eager=eager)


def _small(current: Tensor, dynamics: MLF) -> bool:
    # in an exported program the size is a symbol, of which nothing may be asked
    if torch.compiler.is_compiling() or dynamics.levels == 1 or current.device.type != "cpu":
        return False
    return current[0].numel() * dynamics.levels <= AT_ONCE


def _stack(steps: list[Tensor], dtype: torch.dtype) -> Tensor:
    # converted first: compiled, a stack that is converted afterwards is written and read once more
    return torch.stack([step.to(dtype) for step in steps])


def input_gradient(
    tensors: tuple[Tensor, ...],
    time_steps: int,
    dynamics: MLF,
    surrogate: Surrogate,
    attached: bool,
    scaled: bool,
) -> Tensor:
    """The backward of :func:`fire`: membranes are recomputed, then the surrogate differentiates them.

    Args:
        tensors: the current and the gradient of the spikes; then possibly the values of a :class:`Memory`;
            then possibly scale and shift per channel.
        time_steps: T.
        dynamics: thresholds and decay.
        surrogate: by default it backpropagates through time, see :func:`through_time`.
        attached: whether gradients flow through the reset.
        scaled: whether to return the gradient of the current before scale and shift, not after them.
    """
    current, output_gradient, *others = tensors
    # scale and shift are a pair
    values, affine = (others[0], others[1:]) if len(others) % 2 else (None, others)
    inputs = [input_current(current, affine, t) for t in range(time_steps)]
    totals: list[Tensor] = []
    for k, threshold in enumerate(dynamics.thresholds):
        membranes, silent = membrane_potentials(inputs, threshold, dynamics.decay)
        kept = None if values is None else recalled(values, k, dynamics.levels, time_steps)
        neurons = threshold, dynamics.decay, kept, attached
        firing = Firing(inputs, membranes, silent, output_gradient, *neurons)
        gradients = surrogate.input_gradients(firing)
        totals = [a + b for a, b in zip(totals, gradients, strict=True)] if totals else gradients
    return _stack(_scaled(totals, affine) if scaled else totals, current.dtype)


def _scaled(totals: list[Tensor], affine: list[Tensor]) -> list[Tensor]:
    return [total * affine[0] for total in totals]


def all_input_gradients(
    tensors: tuple[Tensor, ...],
    time_steps: int,
    dynamics: MLF,
    surrogate: Surrogate,
    attached: bool,
    scaled: bool,
) -> Tensor:
    """:func:`input_gradient`, all thresholds at once; for a surrogate that is elementwise, without memory."""
    current, output_gradient, *affine = tensors
    thresholds, inputs = _by_threshold(current, affine, time_steps, dynamics)
    membranes, silent = membrane_potentials(inputs, thresholds, dynamics.decay)
    # elementwise surrogates take one threshold for each neuron as well as one for all
    threshold: Any = thresholds
    neurons = threshold, dynamics.decay, None, attached
    firing = Firing(inputs, membranes, silent, output_gradient, *neurons)
    # one after the other: another order of the sum would give other bits
    totals = [functools.reduce(operator.add, each.unbind(0)) for each in surrogate.input_gradients(firing)]
    return _stack(_scaled(totals, affine) if scaled else totals, current.dtype)


def run_input_gradient(
    tensors: tuple[Tensor, ...], settings: tuple[int, MLF, Surrogate, bool, bool]
) -> Tensor:
    """:func:`input_gradient` in the tier that suits tensors and surrogate.

    Args:
        tensors: those of :func:`input_gradient`.
        settings: its other arguments.
    """
    _, dynamics, surrogate, *_ = settings
    elementwise = type(surrogate).input_gradients is Surrogate.input_gradients
    remembered = len(tensors) % 2
    together = elementwise and not remembered and _small(tensors[0], dynamics)
    eager = all_input_gradients if together else input_gradient
    return run(input_gradient, tensors, settings, eager=eager, split=not surrogate.pooled)


class _Fire(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        current: Tensor,
        settings: tuple[int, MLF],
        derivative: tuple[Surrogate, bool],
        memory: Memory | None,
        layout: tuple[Any, ...],
    ) -> Tensor:
        tensors = (current.detach(),)
        wanted = memory if ctx.needs_input_grad[0] else None
        values = advance(wanted, tensors, settings, derivative[0], layout)
        ctx.save_for_backward(current, *values)
        ctx.settings, ctx.derivative = settings, derivative
        return run_spikes(tensors, *settings)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, output_gradient: Tensor) -> tuple[Tensor | None, ...]:
        current, *values = ctx.saved_tensors
        tensors = (current, output_gradient.contiguous(), *values)
        gradient = run_input_gradient(tensors, (*ctx.settings, *ctx.derivative, False))
        return gradient, None, None, None, None
