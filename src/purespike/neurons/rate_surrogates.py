"""Surrogates that differentiate what a neuron does over all steps, the same for every step."""

from dataclasses import dataclass

import torch
from torch import Tensor

from purespike.neurons.adjoint import Firing
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
    The source has V = 1; other thresholds scale the current, whence the factor 1/V. Summed over the
    thresholds. No settings.
    """

    def derivative(self, distance: Tensor) -> Tensor:
        """That of one step of a neuron of threshold 1 without memory."""
        return _rate_slope(distance + 1, 0.0)

    def input_gradients(self, firing: Firing) -> list[Tensor]:
        steps = range(len(firing.inputs))
        slope = _rate_slope(_mean(firing.inputs) * (1 / firing.threshold), firing.decay)
        incoming = _mean([firing.incoming(t) for t in steps])
        return [slope * incoming * (1 / firing.threshold)] * len(firing.inputs)

    def relative_slopes(self, firing: Firing) -> list[Tensor]:
        """The largest is that of a neuron driven strongly enough to fire."""
        slope = _rate_slope(_mean(firing.inputs) * (1 / firing.threshold), firing.decay)
        return [slope / _steepest(firing.decay)] * len(firing.inputs)


@dataclass(frozen=True)
class BPTR(Surrogate):
    r"""Backward pass through rate (putshua/SNN-RAT): whoever fired at all passes every gradient straight on.

    .. math:: \frac{\partial L}{\partial x[t]} =
        \frac{1}{V}\,\max_{t'} o[t']\,\frac{\partial L}{\partial o[t]}

    The firing rate is taken for a rectified linear function of the mean input: its derivative is 1 where the
    neuron fired at any step, 0 elsewhere, and membranes carry nothing from step to step. Steps are not
    averaged, as in the source's code: where all of them see the same image through the same linear layers,
    its gradient is as if they were. The source has V = 1; other thresholds scale the current, whence the
    factor 1/V. Each of several thresholds counts as a neuron of its own, silent or not, and their gradients
    are summed. No settings.
    """

    def derivative(self, distance: Tensor) -> Tensor:
        """That of one step of a neuron of threshold 1."""
        return distance.clone().ge_(0)

    def input_gradients(self, firing: Firing) -> list[Tensor]:
        slope = _fired(firing) * (1 / firing.threshold)
        return [slope * firing.incoming(t) for t in range(len(firing.membranes))]

    def relative_slopes(self, firing: Firing) -> list[Tensor]:
        """1 where the neuron fired at any step, else 0."""
        return [_fired(firing)] * len(firing.membranes)


def _fired(firing: Firing) -> Tensor:
    highest = firing.membranes[0]
    for membrane in firing.membranes[1:]:
        highest = torch.fmax(highest, membrane)
    return highest.clone().ge_(firing.threshold)


def _rate_slope(current: Tensor, decay: float) -> Tensor:
    # compared in place to stay in floating point, which is several times faster on a CPU
    inside = current.clone().ge_(0) * current.clone().le_(2)
    fires = current.clone().ge_(1 - decay)
    return (fires * _steepest(decay) + (1 - fires) * 0.2) * inside


def _steepest(decay: float) -> float:
    return (0.8 + 0.2 * decay) / (1 + decay)


def _mean(steps: list[Tensor]) -> Tensor:
    total = steps[0]
    for step in steps[1:]:
        total = total + step
    return total * (1 / len(steps))
