"""Surrogates whose width follows the membranes."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from purespike.errors import InputError
from purespike.neurons.adjoint import Activity, Firing, through_time
from purespike.neurons.surrogate import RememberingSurrogate, Surrogate


@dataclass(frozen=True)
class ASSG(RememberingSurrogate):
    r"""Adaptive sharpness (arXiv 2512.22522): an arctangent as sharp as each neuron's own membrane allows.

    With x = u - V, for each sample, neuron, time step and threshold on its own, over the iterations
    i = 1, 2, ... of an attack, from M = 1 and D = 0:

    .. math:: M_i = 0.9\,M_{i-1} + 0.1\,|x_i|, \quad
        D_i = 0.9\,D_{i-1} + 0.1\,\big||x_i| - M_i\big|, \quad
        \alpha_i = \frac{\omega}{M_i + 1.5\,D_i + 10^{-4}}, \quad
        \omega = \tfrac{2}{\pi}\tan\tfrac{\pi A}{2},

    and the derivative is :math:`(\alpha/2) / (1 + (\pi\alpha x/2)^2)`, of which the share A lies in
    :math:`|x| < M + 1.5\,D`. No gradient flows through M and D; through the reset it does, which the source
    detaches.

    Iterations are the forwards with gradients inside :func:`~purespike.neurons.surrogate_gradient`, as in the
    source's code. Elsewhere, e.g. in training, every gradient is the first.

    Args:
        coverage: A, between 0 and 1; the source searches 0.6 to 0.98.
    """

    coverage: float = 0.8
    initial: ClassVar[tuple[float, ...]] = (1.0, 0.0)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.coverage >= 1:
            raise InputError(f"surrogate {self.name}: coverage must be below 1, got {self.coverage}")

    def remember(self, kept: Sequence[Tensor | float], distance: Tensor) -> tuple[Tensor, Tensor]:
        size = distance.abs()
        mean = size * 0.1 + kept[0] * 0.9
        return mean, (size - mean).abs() * 0.1 + kept[1] * 0.9

    def recalling(self, kept: Sequence[Tensor], distance: Tensor) -> Tensor:
        alpha = self._sharpness(kept)
        scaled = distance * alpha * (math.pi / 2)
        return alpha / 2 / (scaled * scaled + 1)

    def relative_slopes(self, activity: Activity) -> list[Tensor]:
        """The largest is the one with the sharpness that the neuron has at that step."""
        shares: list[Tensor] = []
        for t, distance in enumerate(activity.distances):
            kept = self.remember(self.initial, distance) if activity.kept is None else activity.kept[t]
            shares.append(self.recalling(kept, distance) * 2 / self._sharpness(kept))
        return shares

    def _sharpness(self, kept: Sequence[Tensor]) -> Tensor:
        sharpness = 2 / math.pi * math.tan(math.pi / 2 * self.coverage)
        return sharpness / (kept[0] + kept[1] * 1.5 + 1e-4)


@dataclass(frozen=True)
class PDSG(Surrogate):
    r"""Potential-dependent surrogate (ryime/PDSG-SDA): as wide as the membranes of the channel spread.

    .. math:: \frac{1}{\sqrt{2\pi}\,\sigma_c[t]}
        \exp\left(-\frac{(u - V - \sigma_c[t]/2)^2}{2\,\sigma_c[t]^2}\right),

    :math:`\sigma_c[t]` the standard deviation (Bessel-corrected) of the membranes of channel c over the steps
    up to t, the images of the batch, H and W; 1 where they do not spread. Over all neurons of a layer where
    the current is not ``[T, N, C, H, W]``, or that with time folded. No settings.

    No gradient flows through the spread. It is that of the batch, so an image's gradient depends on what else
    is in its batch.
    """

    pooled: ClassVar[bool] = True

    def derivative(self, distance: Tensor) -> Tensor:
        """The derivative at a first step."""
        return self.slope([distance])

    def slope(self, distances: list[Tensor], kept: Sequence[Tensor] | None = None) -> Tensor:
        return self._absolute(distances[-1], self._spreads(distances)[-1])

    def input_gradients(self, firing: Firing) -> list[Tensor]:
        distances = firing.distances
        spreads = self._spreads(distances)
        return through_time(firing, lambda t: self._absolute(distances[t], spreads[t]))

    def relative_slopes(self, activity: Activity) -> list[Tensor]:
        """The largest is the one at half a spread above the threshold."""
        return list(map(self._relative, activity.distances, self._spreads(activity.distances)))

    def _absolute(self, distance: Tensor, spread: Tensor) -> Tensor:
        return self._relative(distance, spread) / (spread * math.sqrt(2 * math.pi))

    @staticmethod
    def _relative(distance: Tensor, spread: Tensor) -> Tensor:
        scaled = distance / spread - 0.5
        return (scaled * scaled * -0.5).exp()

    @staticmethod
    def _spreads(distances: list[Tensor]) -> list[Tensor]:
        rows = len(distances[0])
        means: list[Tensor] = []
        found: list[Tensor] = []
        within = torch.zeros_like(distances[0][:1]).sum(0)
        for distance in distances:
            means.append(distance.mean(0))
            # squares around each step's own mean, then those of the means: sums of raw squares would cancel
            within = within + (distance - means[-1]).square().sum(0)
            steps = torch.stack(means)
            between = (steps - steps.mean(0)).square().sum(0) * rows
            variance = (within + between) / max(len(means) * rows - 1, 1)
            found.append(torch.where(variance > 1e-12, variance.sqrt(), 1.0))
        return found
