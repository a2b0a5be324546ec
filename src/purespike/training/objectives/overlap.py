"""MPD-SGR: few membranes inside the window of the surrogate."""

import functools
from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from purespike.errors import InputError
from purespike.neurons import Surrogate
from purespike.neurons.census import WINDOW
from purespike.training.objectives.batch import View
from purespike.training.objectives.layers import Layer, spiking
from purespike.training.objectives.registry import Penalty, penalty


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

    layers = distances = True

    def __call__(self, view: View) -> Tensor:
        shares = [self.share(layer) for layer in spiking(view.layers, part="overlap")]
        return torch.stack(shares).mean()

    def share(self, layer: Layer) -> Tensor:
        """Ω of one layer."""
        window = half_width(layer.neurons.surrogate) if self.window is None else self.window
        return layer.measured(inside, window).sum(1).mean()


def inside(distances: Tensor, window: float) -> Tensor:
    """Ω of distances ``[T, K, ..., C]``, ``[T, K, C]``."""
    over = tuple(range(2, distances.ndim - 1))
    mean = distances.mean(over, keepdim=True)
    # faster than var_mean, which goes through memory against its order
    variance, mean = (distances - mean).square().mean(over), mean.flatten(2)
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
