"""MPD-SGR: few membranes inside the window of the surrogate."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from purespike.errors import InputError
from purespike.neurons import Surrogate
from purespike.neurons.census import WINDOW
from purespike.neurons.watched import Distances, Statistic
from purespike.training.objectives.batch import View
from purespike.training.objectives.layers import Layer, spiking
from purespike.training.objectives.registry import Penalty, penalty


@dataclass(frozen=True)
class Moments(Statistic):
    """Mean and variance of the distances of each channel, ``[2, T, K, C]``."""

    def of(self, distances: Distances) -> Tensor:
        means = [[level.mean(0) for level in step] for step in distances]
        pairs = [zip(*each, strict=True) for each in zip(distances, means, strict=True)]
        spreads = [[(level - mean).square().mean(0) for level, mean in pair] for pair in pairs]
        return torch.stack([torch.stack([torch.stack(step) for step in part]) for part in (means, spreads)])

    def pulls(
        self, levels: Sequence[Tensor], t: int, steps: int, value: Tensor, gradient: Tensor
    ) -> list[Tensor]:
        return [
            (gradient[0, t, k] + 2 * gradient[1, t, k] * (level - value[0, t, k])) / len(level)
            for k, level in enumerate(levels)
        ]


MOMENTS = Moments()


@penalty("overlap")
@dataclass(frozen=True, kw_only=True)
class Overlap(Penalty):
    r"""Share of normally distributed membranes inside the surrogate's window (MPD-SGR, arXiv 2511.12199).

    .. math:: \Omega = \Phi\Big(\frac{\mu + \gamma}{\sigma}\Big) - \Phi\Big(\frac{\mu - \gamma}{\sigma}\Big)

    μ and σ are mean and standard deviation of the membrane minus its threshold, over the images and positions
    of one channel at one step; Φ is the normal distribution function. It is the mean over layers of neurons,
    steps and channels, summed over thresholds. The share it makes small is the share of the neurons through
    which the gradient of that very surrogate passes: attack with wider ones.

    Args:
        window: γ, half the width of the window in units of the membrane; by default it ends where the
            derivative falls to a tenth of its largest value, as in the census, or to 0 before.
    """

    window: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None

    layers = True
    statistics = (MOMENTS,)

    def __call__(self, view: View) -> Tensor:
        shares = [self.share(layer) for layer in spiking(view.layers, part="overlap")]
        return torch.stack(shares).mean()

    def share(self, layer: Layer) -> Tensor:
        """Ω of one layer."""
        window = half_width(layer.neurons.surrogate) if self.window is None else self.window
        return inside(layer.statistic(MOMENTS), window).sum(1).mean()


def inside(moments: Tensor, window: float) -> Tensor:
    """Ω of the :class:`Moments` of distances, ``[T, K, C]``."""
    mean, variance = moments
    # of a constant channel everything stays finite, gradients too
    deviation = variance.clamp_min(1e-12).sqrt()
    # of both sides the lower one, where the difference does not cancel
    below = -mean.abs()
    return torch.special.ndtr((below + window) / deviation) - torch.special.ndtr((below - window) / deviation)


@functools.cache
def half_width(surrogate: Surrogate) -> float:
    """Distance from the threshold at which the derivative falls below the census's share of its largest.

    Raises:
        InputError: it never does, or the derivative depends on more than the distance.
    """
    if surrogate.pooled or surrogate.remembers or surrogate.route != "time":
        raise InputError(f"overlap: surrogate {surrogate} has a window that is no constant; set window")

    def wide(distance: float) -> bool:
        here, most = (surrogate.derivative(torch.tensor([d], dtype=torch.float64)) for d in (distance, 0.0))
        return bool((here >= WINDOW * most).item())

    low, high = 0.0, 1.0
    while wide(high):
        low, high = high, 2 * high
        if high > 1e6:
            raise InputError(f"overlap: surrogate {surrogate} lets gradients pass everywhere; set window")
    # the interval halves until no number is left in it
    while low < (middle := (low + high) / 2) < high:
        low, high = (middle, high) if wide(middle) else (low, middle)
    return high
