"""Surrogates that differentiate the activity of a neuron over all steps, the same for every step."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from purespike.neurons.adjoint import Activity, Firing
from purespike.neurons.elementwise_surrogates import Triangle
from purespike.neurons.surrogate import Surrogate


@dataclass(frozen=True)
class HART(Triangle):
    r"""HART (hzc1208/HART_Attack, its rate gradient): the triangle's gradient, averaged over the steps.

    .. math:: \frac{\partial L}{\partial x[t]} = \frac{1}{T} \sum_{t'} \frac{\partial L}{\partial o[t']}\,
        \frac{\max(0, \gamma - |u[t'] - V|)}{\gamma^2}

    The membrane carried from step to step, reset included, is a constant. Summed over the thresholds.

    Args:
        width: γ.
    """

    route: ClassVar[Literal["mean"]] = "mean"

    def slopes(self, activity: Activity) -> list[Tensor]:
        return [self.derivative(distance) for distance in activity.distances]

    def input_gradients(self, firing: Firing) -> list[Tensor]:
        steps = range(len(firing.membranes))
        each = [firing.incoming(t) * self.derivative(firing.membranes[t] - firing.threshold) for t in steps]
        return [_mean(each)] * len(each)


@dataclass(frozen=True)
class RateBased(Surrogate):
    r"""RGA (hzc1208/HART_Attack): the neuron as a function of its mean input, differentiated without time.

    .. math:: \frac{\partial L}{\partial x[t]} =
        f'(\bar x)\,\frac{1}{T}\sum_{t'}\frac{\partial L}{\partial o[t']}, \quad
        f'(\bar x) = \frac{1}{V} \begin{cases}
        0.2 & 0 \le \bar x/V < 1 - \tau \\ \frac{0.8 + 0.2\,\tau}{1 + \tau} & 1 - \tau \le \bar x/V \le 2 \\
        0 & \text{else,} \end{cases}

    with x̄ the mean of x over the steps. τ is the neuron's decay: a constant current drives the membrane to
    x̄ / (1 - τ), so below V (1 - τ) it never fires. f rises from 0 at x̄ = 0 to 1 at x̄ = 2V and is continuous.
    The source has V = 1; other thresholds scale the current, hence the factor 1/V. Summed over the
    thresholds. No settings.
    """

    route: ClassVar[Literal["mean"]] = "mean"
    needs_decay: ClassVar[bool] = True

    def derivative(self, distance: Tensor) -> Tensor:
        """The derivative at one step of a neuron of threshold 1 without memory."""
        return _rate_slope(distance + 1, 0.0)

    def slopes(self, activity: Activity) -> list[Tensor]:
        return [self._rate(activity) * (1 / activity.threshold)] * len(activity.inputs)

    @staticmethod
    def _rate(activity: Activity) -> Tensor:
        assert activity.decay is not None
        return _rate_slope(_mean(activity.inputs) * (1 / activity.threshold), activity.decay)

    def input_gradients(self, firing: Firing) -> list[Tensor]:
        incoming = _mean([firing.incoming(t) for t in range(len(firing.inputs))])
        return [self._rate(firing) * incoming * (1 / firing.threshold)] * len(firing.inputs)

    def relative_slopes(self, activity: Activity) -> list[Tensor]:
        """The largest is the slope of a neuron driven strongly enough to fire."""
        assert activity.decay is not None
        return [self._rate(activity) / _steepest(activity.decay)] * len(activity.inputs)


@dataclass(frozen=True)
class BPTR(Surrogate):
    r"""Backward pass through rate (putshua/SNN-RAT): neurons that fired at all pass every gradient on.

    .. math:: \frac{\partial L}{\partial x[t]} =
        \frac{1}{V}\,\max_{t'} o[t']\,\frac{\partial L}{\partial o[t]}

    The firing rate is taken for a rectified linear function of the mean input: its derivative is 1 where the
    neuron fired at any step, 0 elsewhere, and membranes carry nothing from step to step. Steps are not
    averaged, as in the source's code: where all of them see the same image through the same linear layers,
    its gradient is as if they were. The source has V = 1; other thresholds scale the current, hence the
    factor 1/V. Each of several thresholds counts as a neuron of its own, silent or not, and their gradients
    are summed. No settings.
    """

    route: ClassVar[Literal["step"]] = "step"

    def derivative(self, distance: Tensor) -> Tensor:
        """The derivative at one step of a neuron of threshold 1."""
        return distance.clone().ge_(0)

    def slopes(self, activity: Activity) -> list[Tensor]:
        return [_fired(activity) * (1 / activity.threshold)] * len(activity.inputs)

    def input_gradients(self, firing: Firing) -> list[Tensor]:
        slope = _fired(firing) * (1 / firing.threshold)
        return [slope * firing.incoming(t) for t in range(len(firing.membranes))]

    def relative_slopes(self, activity: Activity) -> list[Tensor]:
        """1 where the neuron fired at any step, else 0."""
        return [_fired(activity)] * len(activity.inputs)


def _fired(activity: Activity) -> Tensor:
    highest, *others = activity.distances
    for distance in others:
        highest = torch.fmax(highest, distance)
    return highest.clone().ge_(0)


def _rate_slope(current: Tensor, decay: float | Tensor) -> Tensor:
    # compared in place to stay in floating point, which is several times faster on a CPU
    inside = current.clone().ge_(0) * current.clone().le_(2)
    fires = current.clone().ge_(1 - decay)
    return (fires * _steepest(decay) + (1 - fires) * 0.2) * inside


def _steepest(decay: float | Tensor) -> float | Tensor:
    return (0.8 + 0.2 * decay) / (1 + decay)


def _mean(steps: Sequence[Tensor]) -> Tensor:
    total = steps[0]
    for step in steps[1:]:
        total = total + step
    return total * (1 / len(steps))
