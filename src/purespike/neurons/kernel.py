"""The fused multi-level firing step over ``[T, M]``; its backward recomputes the membranes."""

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

from purespike.neurons.compiled import run
from purespike.neurons.surrogate import Surrogate


def fire(
    current: Tensor, time_steps: int, thresholds: tuple[float, ...], decay: float, surrogate: Surrogate
) -> Tensor:
    r"""Spikes of :math:`u_k[t] = d\,u_k[t-1](1 - o_k[t-1]) + x[t],\; o_k = [u_k \ge V_k]`, summed over k.

    Only the current is kept for backward. The state is float32, or float64 for a float64 current.

    Args:
        current: input current, ``[time_steps, M]``.
        time_steps: T; given apart so that compiled code may unroll it.
        thresholds: V_k, ascending.
        decay: d, the paper's k_τ.
        surrogate: what backward takes for the derivative of the spike; gradient flows through the reset.

    Returns:
        Spike counts in ``0..len(thresholds)``, same shape and type as ``current``.
    """
    return _Fire.apply(current, time_steps, thresholds, decay, surrogate)


def spikes(current: Tensor, time_steps: int, thresholds: tuple[float, ...], decay: float) -> Tensor:
    """The forward of :func:`fire` in plain tensor operations, for both the eager and the compiled tier."""
    state_type = torch.promote_types(current.dtype, torch.float32)
    membranes: list[Tensor] = []
    outputs = []
    for t in range(time_steps):
        x = current[t].to(state_type)
        membranes = _advance(membranes, x, thresholds, decay)
        count = (membranes[0] >= thresholds[0]).to(current.dtype)
        for u, threshold in zip(membranes[1:], thresholds[1:], strict=True):
            count = count + (u >= threshold)
        outputs.append(count)
    return torch.stack(outputs)


def _advance(membranes: list[Tensor], x: Tensor, thresholds: tuple[float, ...], decay: float) -> list[Tensor]:
    if not membranes:
        return [x for _ in thresholds]
    # a membrane that reached its threshold was reset to zero: only the new current is left in it
    return [
        torch.where(u >= threshold, x, u * decay + x)
        for u, threshold in zip(membranes, thresholds, strict=True)
    ]


def input_gradient(
    current: Tensor,
    output_gradient: Tensor,
    time_steps: int,
    thresholds: tuple[float, ...],
    decay: float,
    surrogate: Surrogate,
) -> Tensor:
    r"""The backward of :func:`fire`: membranes are recomputed, then the adjoint runs back through time.

    With s the surrogate's derivative at :math:`u_k[t] - V_k` and g the adjoint of :math:`u_k`,
    :math:`g[t] = s\,(\partial L/\partial o[t] - d\,u[t]\,g[t+1]) + d\,(1 - o[t])\,g[t+1]`.
    """
    state_type = torch.promote_types(current.dtype, torch.float32)
    totals: list[Tensor] = []
    for threshold in thresholds:
        membranes: list[Tensor] = []
        for t in range(time_steps):
            membranes += _advance(membranes[-1:], current[t].to(state_type), (threshold,), decay)
        gradients: list[Tensor] = []
        for t in reversed(range(time_steps)):
            u = membranes[t]
            slope = surrogate.derivative(u - threshold)
            incoming = output_gradient[t].to(state_type)
            if gradients:
                carried = gradients[-1] * decay
                gradient = (incoming - carried * u) * slope + carried * (u < threshold)
            else:
                gradient = incoming * slope
            gradients.append(gradient)
        gradients.reverse()
        totals = [a + b for a, b in zip(totals, gradients, strict=True)] if totals else gradients
    return torch.stack(totals).to(current.dtype)


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
        settings = (*ctx.settings, ctx.surrogate)  # type: ignore[attr-defined]
        gradient = run(input_gradient, (current, output_gradient.contiguous()), settings)
        return gradient, None, None, None, None
