"""Surrogates whose width follows the membranes, from step to step."""

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from purespike.errors import InputError
from purespike.neurons.adjoint import Firing, through_time
from purespike.neurons.surrogate import Surrogate


@dataclass(frozen=True)
class AdaptiveSurrogate(Surrogate, abstract=True):
    """Base of surrogates whose derivative at a step depends on the steps up to it.

    What it depends on is a constant to backward, as in both sources: no gradient flows through a width.
    """

    @abstractmethod
    def slopes(self, distances: list[Tensor]) -> list[Tensor]:
        """Derivative of the spike at each step, given membrane minus threshold at each step."""

    def derivative(self, distance: Tensor) -> Tensor:
        """That of a first step."""
        return self.slopes([distance])[0]

    def input_gradients(self, firing: Firing) -> list[Tensor]:
        slopes = self.slopes([membrane - firing.threshold for membrane in firing.membranes])
        return through_time(firing, lambda t: slopes[t])


@dataclass(frozen=True)
class ASSG(AdaptiveSurrogate):
    r"""Adaptive sharpness (arXiv 2512.22522): an arctangent as sharp as each neuron's own membrane allows.

    With x = u - V, for each neuron, from M = 1 and D = 0 before the first step:

    .. math:: M[t] = 0.9\,M[t-1] + 0.1\,|x[t]|, \quad
        D[t] = 0.9\,D[t-1] + 0.1\,\big||x[t]| - M[t]\big|, \quad
        \alpha[t] = \frac{\omega}{M[t] + 1.5\,D[t] + 10^{-4}}, \quad
        \omega = \tfrac{2}{\pi}\tan\tfrac{\pi A}{2},

    and the derivative is :math:`(\alpha/2) / (1 + (\pi\alpha x/2)^2)`, of which the share A lies in
    :math:`|x| < M + 1.5\,D`.

    M and D run over the time steps of one forward. In the source's code each neuron and time step has its own
    M and D, which run over the iterations of the attack and so forget their start; a surrogate keeps no state
    between two forwards, hence at few time steps M stays near 1.

    Args:
        coverage: A, between 0 and 1; the source searches 0.6 to 0.98.
    """

    coverage: float = 0.8

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.coverage >= 1:
            raise InputError(f"surrogate {self.name}: coverage must be below 1, got {self.coverage}")

    def slopes(self, distances: list[Tensor]) -> list[Tensor]:
        sharpness = 2 / math.pi * math.tan(math.pi / 2 * self.coverage)
        mean: Tensor | float = 1.0
        deviation: Tensor | float = 0.0
        found: list[Tensor] = []
        for distance in distances:
            size = distance.abs()
            mean = size * 0.1 + mean * 0.9
            deviation = (size - mean).abs() * 0.1 + deviation * 0.9
            alpha = sharpness / (mean + deviation * 1.5 + 1e-4)
            scaled = distance * alpha * (math.pi / 2)
            found.append(alpha / 2 / (scaled * scaled + 1))
        return found


@dataclass(frozen=True)
class PDSG(AdaptiveSurrogate):
    r"""Potential-dependent surrogate (ryime/PDSG-SDA): as wide as the membranes of the channel spread.

    .. math:: \frac{1}{\sqrt{2\pi}\,\sigma_c[t]}
        \exp\left(-\frac{(u - V - \sigma_c[t]/2)^2}{2\,\sigma_c[t]^2}\right),

    :math:`\sigma_c[t]` the standard deviation (Bessel-corrected) of the membranes of channel c over the steps
    up to t, the images of the batch, H and W; 1 where they do not spread. Over all neurons of a layer where
    the current is not ``[T, N, C, H, W]``, or that with time folded. No settings.

    The spread is that of the batch, so an image's gradient depends on what else is in its batch.
    """

    pooled: ClassVar[bool] = True

    def slopes(self, distances: list[Tensor]) -> list[Tensor]:
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
            spread = torch.where(variance > 1e-12, variance.sqrt(), 1.0)
            scaled = distance / spread - 0.5
            found.append((scaled * scaled * -0.5).exp() / (spread * math.sqrt(2 * math.pi)))
        return found
