"""Surrogates that depend on nothing but the distance of the membrane from its threshold."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from purespike.neurons.surrogate import Surrogate


@dataclass(frozen=True)
class Rectangle(Surrogate):
    r"""``1/width`` where ``|u - V| < width/2``, else 0 (STBP; the paper's, with ``width=1``).

    Args:
        width: width of the window in which the derivative is not zero, positive.
    """

    width: float = 1.0

    def derivative(self, distance: Tensor) -> Tensor:
        # compared in place to stay in floating point, which is several times faster on a CPU
        return distance.abs().lt_(self.width / 2).mul_(1 / self.width)


@dataclass(frozen=True)
class Triangle(Surrogate):
    r"""``max(0, width - |u - V|) / width²`` (Esser et al. 2016; SNN-RAT uses ``width=1``).

    Args:
        width: distance beyond which the derivative is zero, positive.
    """

    width: float = 1.0

    def derivative(self, distance: Tensor) -> Tensor:
        return (self.width - distance.abs()).clamp(min=0) * (1 / self.width**2)


@dataclass(frozen=True)
class ATan(Surrogate):
    r"""``(alpha/2) / (1 + (π/2 · alpha · (u - V))²)`` (Fang et al. 2021): never exactly zero.

    Args:
        alpha: steepness, positive: the derivative at the threshold is half of it.
    """

    alpha: float = 2.0

    def derivative(self, distance: Tensor) -> Tensor:
        scaled = distance * (math.pi / 2 * self.alpha)
        return (self.alpha / 2) / (scaled * scaled + 1)


@dataclass(frozen=True)
class Sigmoid(Surrogate):
    r"""``alpha · s (1 - s)`` with ``s = 1 / (1 + exp(-alpha · (u - V)))`` (SpikingJelly's default; area 1).

    Args:
        alpha: steepness, positive: the derivative at the threshold is a quarter of it.
    """

    alpha: float = 4.0

    def derivative(self, distance: Tensor) -> Tensor:
        # in the form that cannot overflow
        fallen = torch.exp(distance.abs() * -self.alpha)
        return self.alpha * fallen / (fallen + 1).square()


@dataclass(frozen=True)
class Exponential(Surrogate):
    r"""``(alpha/2) · exp(-alpha · |u - V|)`` (SLAYER, Shrestha and Orchard 2018; area 1).

    Args:
        alpha: steepness, positive: the derivative at the threshold is half of it.
    """

    alpha: float = 2.0

    def derivative(self, distance: Tensor) -> Tensor:
        return (distance.abs() * -self.alpha).exp() * (self.alpha / 2)


@dataclass(frozen=True)
class Gaussian(Surrogate):
    r"""Normal density of ``u - V`` with standard deviation ``width``, mean 0 (STBP, Wu et al. 2018).

    Args:
        width: standard deviation, positive.
    """

    width: float = 0.5

    def derivative(self, distance: Tensor) -> Tensor:
        scaled = distance * (1 / self.width)
        return (scaled * scaled * -0.5).exp() * (1 / (self.width * math.sqrt(2 * math.pi)))


@dataclass(frozen=True)
class StraightThrough(Surrogate):
    r"""1 everywhere (straight-through estimator, Bengio et al. 2013): whatever the membrane, never 0."""

    def derivative(self, distance: Tensor) -> Tensor:
        return torch.ones_like(distance)
