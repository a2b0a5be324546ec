"""The neuron as its equation says it, step by step, differentiated by autograd; nothing of purespike."""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

Slope = Callable[[Tensor], Tensor]


def rectangle(width: float) -> Slope:
    return lambda distance: torch.where(distance.abs() < width / 2, 1 / width, 0.0).to(distance)


def triangle(width: float) -> Slope:
    return lambda distance: torch.relu(width - distance.abs()) / width**2


def arctangent(alpha: float) -> Slope:
    return lambda distance: alpha / 2 / (1 + (math.pi / 2 * alpha * distance) ** 2)


def exponential(alpha: float) -> Slope:
    return lambda distance: alpha / 2 * torch.exp(-alpha * distance.abs())


def gaussian(width: float) -> Slope:
    return lambda distance: torch.exp(-((distance / width) ** 2) / 2) / math.sqrt(2 * math.pi * width * width)


SLOPES = {
    "rectangle(width=1)": rectangle(1.0),
    "rectangle(width=0.5)": rectangle(0.5),
    "rectangle(width=2)": rectangle(2.0),
    "triangle(width=1)": triangle(1.0),
    "triangle(width=2.5)": triangle(2.5),
    "atan(alpha=2)": arctangent(2.0),
    "atan(alpha=4)": arctangent(4.0),
    "exponential(alpha=2)": exponential(2.0),
    "exponential(alpha=0.5)": exponential(0.5),
    "gaussian(width=0.5)": gaussian(0.5),
    "gaussian(width=2)": gaussian(2.0),
    "straightthrough": torch.ones_like,
}


class _Spike(torch.autograd.Function):
    @staticmethod
    def forward(ctx, distance, slope):
        ctx.save_for_backward(distance)
        ctx.slope = slope
        return (distance >= 0).to(distance.dtype)

    @staticmethod
    def backward(ctx, gradient):
        return gradient * ctx.slope(*ctx.saved_tensors), None


def loop(
    current: Tensor, thresholds: Sequence[float], decay: float, slope: Slope, *, detach_reset: bool = False
) -> Tensor:
    """Spike counts for ``current`` ``[T, ...]``."""
    membranes = [torch.zeros_like(current[0]) for _ in thresholds]
    fired = [torch.zeros_like(current[0]) for _ in thresholds]
    counts = []
    for x in current:
        for k, threshold in enumerate(thresholds):
            reset = fired[k].detach() if detach_reset else fired[k]
            membranes[k] = decay * membranes[k] * (1 - reset) + x
            fired[k] = _Spike.apply(membranes[k] - threshold, slope)
        counts.append(sum(fired))
    return torch.stack(counts)


def loop_gradient(
    current: Tensor, weights: Tensor, thresholds: Sequence[float], decay: float, slope: Slope, **options: bool
) -> tuple[Tensor, Tensor]:
    """Spike counts, and the gradient of ``(counts * weights).sum()``, both float64."""
    leaf = current.detach().double().requires_grad_()
    counts = loop(leaf, thresholds, decay, slope, **options)
    (gradient,) = torch.autograd.grad((counts * weights.double()).sum(), leaf)
    return counts.detach(), gradient
