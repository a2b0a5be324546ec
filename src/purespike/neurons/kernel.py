"""The fused multi-level firing step; its backward recomputes the membranes.

Tensors are ``[T, M]``, or ``[T, M, C]`` where an affine map per channel comes first or a surrogate looks at
channels. :func:`spikes` and :func:`input_gradient` are plain tensor operations, for both the eager and the
compiled tier.
"""

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

from purespike.neurons.adjoint import Firing
from purespike.neurons.compiled import run
from purespike.neurons.surrogate import Surrogate


def fire(
    current: Tensor, time_steps: int, thresholds: tuple[float, ...], decay: float, surrogate: Surrogate
) -> Tensor:
    r"""Spikes of :math:`u_k[t] = d\,u_k[t-1](1 - o_k[t-1]) + x[t],\; o_k = [u_k \ge V_k]`, summed over k.

    Only the current is kept for backward. The state is float32, or float64 for a float64 current.

    Args:
        current: input current, ``[time_steps, M]`` or ``[time_steps, M, C]``.
        time_steps: T; given apart so that compiled code may unroll it.
        thresholds: V_k, ascending.
        decay: d, the paper's k_τ.
        surrogate: what backward takes for the derivative of the spike; gradient flows through the reset.

    Returns:
        Spike counts in ``0..len(thresholds)``, same shape and type as ``current``.
    """
    return _Fire.apply(current, time_steps, thresholds, decay, surrogate)


def spikes(
    tensors: tuple[Tensor, ...], time_steps: int, thresholds: tuple[float, ...], decay: float
) -> Tensor:
    """The forward of :func:`fire`.

    Args:
        tensors: the current, then possibly scale and shift per channel, ``[C]``, which come first.
        time_steps: T.
        thresholds: V_k.
        decay: d.
    """
    current, *affine = tensors
    inputs = [_input(current, affine, t) for t in range(time_steps)]
    counts: list[Tensor] = []
    for threshold in thresholds:
        membranes, _ = _membranes(inputs, threshold, decay)
        fired = [u.clone().ge_(threshold) for u in membranes]
        counts = [a + b for a, b in zip(counts, fired, strict=True)] if counts else fired
    return _stack(counts, current.dtype)


def _stack(steps: list[Tensor], dtype: torch.dtype) -> Tensor:
    # converted first: compiled, a stack that is converted afterwards is written and read once more
    return torch.stack([step.to(dtype) for step in steps])


def _input(current: Tensor, affine: list[Tensor], t: int) -> Tensor:
    x = current[t].to(torch.promote_types(current.dtype, torch.float32))
    return torch.addcmul(affine[1], x, affine[0]) if affine else x


def _membranes(inputs: list[Tensor], threshold: float, decay: float) -> tuple[list[Tensor], list[Tensor]]:
    """Membrane potential at each step; and at each but the last 1 where it stays, 0 where it is reset."""
    membranes, silent = inputs[:1], []
    for x in inputs[1:]:
        # compared in place: a result of type bool makes this and what uses it five times slower on a CPU
        silent.append(membranes[-1].clone().lt_(threshold))
        membranes.append(torch.addcmul(x, membranes[-1], silent[-1], value=decay))
    return membranes, silent


def input_gradient(
    tensors: tuple[Tensor, ...],
    time_steps: int,
    thresholds: tuple[float, ...],
    decay: float,
    surrogate: Surrogate,
    scaled: bool,
) -> Tensor:
    """The backward of :func:`fire`: membranes are recomputed, then the surrogate differentiates them.

    Args:
        tensors: the current and the gradient of the spikes, then possibly scale and shift per channel.
        time_steps: T.
        thresholds: V_k.
        decay: d.
        surrogate: by default it backpropagates through time, see :func:`through_time`.
        scaled: whether the gradient is that of the current before scale and shift, not after them.
    """
    current, output_gradient, *affine = tensors
    inputs = [_input(current, affine, t) for t in range(time_steps)]
    totals: list[Tensor] = []
    for threshold in thresholds:
        membranes, silent = _membranes(inputs, threshold, decay)
        firing = Firing(inputs, membranes, silent, output_gradient, threshold, decay)
        gradients = surrogate.input_gradients(firing)
        totals = [a + b for a, b in zip(totals, gradients, strict=True)] if totals else gradients
    if scaled:
        totals = [total * affine[0] for total in totals]
    return _stack(totals, current.dtype)


class _Fire(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: FunctionCtx,
        current: Tensor,
        time_steps: int,
        thresholds: tuple[float, ...],
        decay: float,
        surrogate: Surrogate,
    ) -> Tensor:
        ctx.save_for_backward(current)
        ctx.settings = (time_steps, thresholds, decay)  # type: ignore[attr-defined]
        ctx.surrogate = surrogate  # type: ignore[attr-defined]
        return run(spikes, (current.detach(),), (time_steps, thresholds, decay))

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, output_gradient: Tensor) -> tuple[Tensor, None, None, None, None]:
        (current,) = ctx.saved_tensors  # type: ignore[attr-defined]
        settings = (*ctx.settings, ctx.surrogate, False)  # type: ignore[attr-defined]
        tensors = (current, output_gradient.contiguous())
        gradient = run(input_gradient, tensors, settings, split=not ctx.surrogate.pooled)  # type: ignore[attr-defined]
        return gradient, None, None, None, None
