"""Batch normalisation and firing in one pass, which keeps one tensor for backward instead of two."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from purespike.neurons.dynamics import MLF
from purespike.neurons.kernel import run_input_gradient, run_spikes
from purespike.neurons.memory import Memory, advance
from purespike.neurons.surrogate import Surrogate


def fusible(norm: nn.BatchNorm2d, current: Tensor, time_steps: int) -> bool:
    """Whether :func:`normalise_and_fire` can stand for ``norm`` and the neurons after it.

    Not for subclasses (a ``SyncBatchNorm`` gathers statistics elsewhere), not past a hook that somebody put
    on ``norm``, nor where the two layers would raise.
    """
    hooks = (norm._forward_hooks, norm._forward_pre_hooks, norm._backward_hooks, norm._backward_pre_hooks)
    return (
        type(norm) is nn.BatchNorm2d
        and not any(hooks)
        and norm.affine
        # not `None in (…)`, which asks a tensor whether it equals None: a twelfth of a small forward
        and all(each is not None for each in (norm.running_mean, norm.num_batches_tracked, norm.momentum))
        and current.ndim == 4
        and current.device.type in ("cpu", "cuda")
        and current.numel() > norm.num_features == current.shape[1]
        and current.shape[0] % time_steps == 0
        and not torch.compiler.is_compiling()
    )


def normalise_and_fire(
    current: Tensor,
    norm: nn.BatchNorm2d,
    time_steps: int,
    dynamics: MLF,
    surrogate: Surrogate,
    memory: Memory | None = None,
    attached: bool = True,
) -> Tensor:
    """``fire(norm(current))``, but the normalised current is never stored: backward computes it again.

    Args:
        current: ``[T·N, C, H, W]``, time outermost.
        norm: its statistics and counters change in training mode as they do when it is called.
        time_steps: T.
        dynamics: thresholds and decay.
        surrogate: derivative of the spike in backward.
        memory: memory of these neurons, for a surrogate that remembers.
        attached: whether gradients flow through the reset.

    Returns:
        Spike counts, same shape and type, channels_last.
    """
    if norm.training:
        assert norm.num_batches_tracked is not None
        norm.num_batches_tracked.add_(1)
    settings, derivative = (time_steps, dynamics), (surrogate, attached)
    memory = memory if torch.is_grad_enabled() else None
    return _NormaliseAndFire.apply(current, norm.weight, norm.bias, norm, settings, derivative, memory)


def scale_and_shift(norm: nn.BatchNorm2d, mean: Tensor, variance: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Reciprocal deviation, scale and shift per channel of a norm with these statistics, ``[C]`` each."""
    deviation = torch.rsqrt(variance + norm.eps)
    scale = norm.weight * deviation
    return deviation, scale, norm.bias - mean * scale


def rows_of(images: Tensor, time_steps: int) -> Tensor:
    """``[T·N, C, H, W]`` as ``[T, N·H·W, C]``, without a copy where memory is channels_last."""
    return images.permute(0, 2, 3, 1).reshape(time_steps, -1, images.shape[1])


def _images(rows: Tensor, like: Tensor) -> Tensor:
    count, channels, height, width = like.shape
    return rows.view(count, height, width, channels).permute(0, 3, 1, 2)


class _NormaliseAndFire(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        current: Tensor,
        weight: Tensor,
        bias: Tensor,
        norm: nn.BatchNorm2d,
        settings: tuple[int, MLF],
        derivative: tuple[Surrogate, bool],
        memory: Memory | None,
    ) -> Tensor:
        current = current.detach().contiguous(memory_format=torch.channels_last)
        mean, variance = norm.running_mean, norm.running_var
        assert mean is not None and variance is not None and norm.momentum is not None
        if norm.training:
            mean, variance = torch.ops.aten.batch_norm_update_stats(current, mean, variance, norm.momentum)
        deviation, scale, shift = scale_and_shift(norm, mean, variance)
        tensors = (rows_of(current, settings[0]), scale, shift)
        wanted = any(ctx.needs_input_grad)
        values = advance(memory if wanted else None, tensors, settings, derivative[0], tuple(current.shape))
        ctx.save_for_backward(current, weight, mean, deviation, scale, shift, *values)
        ctx.training, ctx.eps = norm.training, norm.eps
        ctx.settings, ctx.derivative = settings, derivative
        return _images(run_spikes(tensors, *settings), current)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, output_gradient: Tensor) -> tuple[Tensor | None, ...]:
        current, weight, mean, deviation, scale, shift, *values = ctx.saved_tensors
        wanted = ctx.needs_input_grad[:3]
        time_steps = ctx.settings[0]
        incoming = output_gradient.contiguous(memory_format=torch.channels_last)
        tensors = (rows_of(current, time_steps), rows_of(incoming, time_steps), *values, scale, shift)
        # statistics that do not depend on the batch leave nothing to do but to scale the gradient
        scaled = not ctx.training and not any(wanted[1:])
        constants = (*ctx.settings, *ctx.derivative, scaled)
        gradient = _images(run_input_gradient(tensors, constants), current)
        if scaled:
            return gradient, None, None, None, None, None, None
        found = torch.ops.aten.native_batch_norm_backward(
            gradient,
            current,
            weight,
            None if ctx.training else mean,
            None if ctx.training else deviation.pow(-2) - ctx.eps,
            mean,
            deviation,
            ctx.training,
            ctx.eps,
            wanted,
        )
        return (
            *(value if want else None for value, want in zip(found, wanted, strict=True)),
            None,
            None,
            None,
            None,
        )
