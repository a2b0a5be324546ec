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


def sigmoid(alpha: float) -> Slope:
    def slope(distance):
        risen = 1 / (1 + torch.exp(-alpha * distance))
        return alpha * risen * (1 - risen)

    return slope


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
    "sigmoid(alpha=4)": sigmoid(4.0),
    "sigmoid(alpha=1)": sigmoid(1.0),
    "gaussian(width=0.5)": gaussian(0.5),
    "gaussian(width=2)": gaussian(2.0),
    "straightthrough": torch.ones_like,
}


class Spike(torch.autograd.Function):
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
            fired[k] = Spike.apply(membranes[k] - threshold, slope)
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


def drawn(*shape, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    current = torch.randn(*shape, generator=generator) * 1.2 + 0.3
    return current.to(dtype), torch.rand(*shape, generator=generator).to(dtype)


def membranes(current, threshold, decay):
    """Float64 membranes and spikes of one threshold."""
    potential, potentials, spikes = torch.zeros_like(current[0]), [], []
    for x in current:
        potential = decay * potential + x
        potentials.append(potential)
        spikes.append((potential >= threshold).double())
        potential = potential * (1 - spikes[-1])
    return potentials, spikes


def assg_slopes(potentials, threshold, coverage):
    """Those of a first gradient."""
    omega, slopes = 2 * math.tan(math.pi * coverage / 2) / math.pi, []
    for potential in potentials:
        x = potential - threshold
        mean = 0.9 * 1 + 0.1 * x.abs()
        deviation = 0.9 * 0 + 0.1 * (x.abs() - mean).abs()
        alpha = omega / (mean + 1.5 * deviation + 1e-4)
        slopes.append(alpha / 2 / (1 + (math.pi * alpha * x / 2) ** 2))
    return slopes


def pdsg_slopes(potentials, threshold):
    slopes = []
    for t, potential in enumerate(potentials):
        seen = torch.stack(potentials[: t + 1])
        if seen.ndim == 5:
            deviation = seen.transpose(2, 0).flatten(1).std(1)[:, None, None]
        else:
            deviation = seen.std()
        slopes.append(
            torch.distributions.Normal(deviation / 2, deviation).log_prob(potential - threshold).exp()
        )
    return slopes


def through_time(potentials, spikes, slopes, weights, decay):
    """The adjoint of u[t+1] = d u[t] (1 - o[t]) + x[t+1] with do/du = slope."""
    adjoint, gradients = torch.zeros_like(potentials[0]), []
    for u, o, slope, weight in reversed(list(zip(potentials, spikes, slopes, weights, strict=True))):
        adjoint = slope * weight + adjoint * decay * ((1 - o) - u * slope)
        gradients.append(adjoint)
    return torch.stack(gradients[::-1])


def rate_slope(current, threshold, decay):
    scaled = current.mean(0) / threshold
    slope = torch.zeros_like(scaled)
    slope[(scaled >= 0) & (scaled < 1 - decay)] = 0.2
    slope[(scaled >= 1 - decay) & (scaled <= 2)] = (0.8 + 0.2 * decay) / (decay + 1)
    return slope / threshold


def expected_gradient(text, current, weights, thresholds, decay):
    """``current``: ``[T, N, C, H, W]``, or any shape for what knows no channels."""
    name, _, rest = text.partition("(")
    setting = float(rest.rstrip(")").partition("=")[2] or {"assg": 0.8, "hart": 1.0}.get(name, 0))
    current, weights, total = current.double(), weights.double(), 0
    for threshold in thresholds:
        potentials, spikes = membranes(current, threshold, decay)
        if name == "hart":
            slopes = [torch.relu(setting - (u - threshold).abs()) / setting**2 for u in potentials]
            mean = (torch.stack(slopes) * weights).mean(0)
            gradient = mean.expand_as(current)
        elif name == "ratebased":
            gradient = (rate_slope(current, threshold, decay) * weights.mean(0)).expand_as(current)
        elif name == "bptr":
            gradient = torch.where(torch.stack(spikes).sum(0) > 0, weights / threshold, 0)
        else:
            slopes = {"assg": assg_slopes, "pdsg": lambda u, v, _: pdsg_slopes(u, v)}[name](
                potentials, threshold, setting
            )
            gradient = through_time(potentials, spikes, slopes, weights, decay)
        total = total + gradient
    return total


class Sharpness:
    """M and D of every threshold, step and neuron, and the slopes they give."""

    def __init__(self, coverage=0.8):
        self.omega = 2 * math.tan(math.pi * coverage / 2) / math.pi
        self.known = {}

    def slope(self, key, x):
        """At the next iteration, for ``x`` the membrane minus the threshold."""
        mean, deviation = self.known.get(key, (torch.ones_like(x), torch.zeros_like(x)))
        mean = 0.9 * mean + 0.1 * x.abs()
        deviation = 0.9 * deviation + 0.1 * (x.abs() - mean).abs()
        self.known[key] = mean, deviation
        alpha = self.omega / (mean + 1.5 * deviation + 1e-4)
        return alpha / 2 / (1 + (math.pi * alpha * x / 2) ** 2)

    def gradient(self, current, weights, thresholds, decay=0.25):
        """Of the spikes weighted; ``current``: ``[T, ...]``."""
        total = 0
        for threshold in thresholds:
            potentials, spikes = membranes(current, threshold, decay)
            slopes = [self.slope((threshold, t), u - threshold) for t, u in enumerate(potentials)]
            total = total + through_time(potentials, spikes, slopes, weights, decay)
        return total


def check(gradient, expected, tolerance):
    assert gradient.isfinite().all()
    scale = expected.abs().max().item() + 1
    torch.testing.assert_close(gradient.double(), expected, atol=tolerance * scale, rtol=0)
