"""TGO: membranes kept away from the threshold, where they could flip and where gradients pass."""

import functools
import math
import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from purespike.neurons.watched import Distances, Statistic
from purespike.training.objectives.batch import View
from purespike.training.objectives.layers import spiking
from purespike.training.objectives.registry import Penalty, penalty


@penalty("threshold_distance")
@dataclass(frozen=True, kw_only=True)
class ThresholdDistance(Penalty):
    r"""Mean shortfall of the distance between membranes and thresholds, summed over layers (TGO 2026).

    .. math:: w \sum_l \frac{1}{T N_l} \sum_{t,i} \max(0, \delta - |u_i[t] - V|), \quad
        w = \tfrac12 (1 - \cos \pi e)

    where e is the share of the training that is over ("Robust Spiking Neural Networks Against Adversarial
    Attacks", arXiv 2602.20548). Of neurons with several thresholds the nearest counts. A membrane within a
    narrow surrogate is one through which the attacker's gradient passes: away from it both the spike is
    harder to flip, which is robustness, and the gradient is gone, which is masking.

    Args:
        margin: δ, in units of the membrane; of neurons that learn their threshold V from its initial value
            V₀, in units of V₀ (u / V − 1), so that a growing threshold does not count as distance.
        ramp: ``"cosine"``, or ``"none"`` for w = 1 throughout.
    """

    margin: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.1
    ramp: Literal["cosine", "none"] = "cosine"

    layers = True

    @property
    def statistics(self) -> tuple[Statistic, ...]:  # type: ignore[override]
        """The shortfall at this margin."""
        return (Shortfall(self.margin),)

    def __call__(self, view: View) -> Tensor:
        layers = spiking(view.layers, part="threshold_distance")
        shortfalls = [layer.statistic(Shortfall(self.margin)) for layer in layers]
        return self.share(view.batch.progress) * torch.stack(shortfalls).sum()

    def share(self, progress: float) -> float:
        """w at a share of the training in [0, 1]."""
        return 1.0 if self.ramp == "none" else (1 - math.cos(math.pi * progress)) / 2


@dataclass(frozen=True)
class Shortfall(Statistic):
    """Mean of what the nearest of the distances of a neuron lacks of ``margin``, ``[1]``."""

    margin: float

    def of(self, distances: Distances) -> Tensor:
        sums = [functional.relu(self.margin - _nearest(step)).sum() for step in distances]
        return functools.reduce(operator.add, sums).view(1) / (len(distances) * distances[0][0].numel())

    def pulls(
        self, levels: Sequence[Tensor], t: int, steps: int, value: Tensor, gradient: Tensor
    ) -> list[Tensor]:
        nearest = _nearest(levels)
        share = torch.where(nearest < self.margin, -gradient / (steps * levels[0].numel()), 0)
        return [torch.where(level.abs() == nearest, level.sign() * share, 0) for level in levels]


def _nearest(levels: Sequence[Tensor]) -> Tensor:
    return functools.reduce(torch.minimum, [level.abs() for level in levels])
