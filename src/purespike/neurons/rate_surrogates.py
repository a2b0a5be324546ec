"""Surrogates that differentiate what a neuron does over all steps, the same for every step."""

from dataclasses import dataclass

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


def _rate_slope(current: Tensor, decay: float) -> Tensor:
    # compared in place to stay in floating point, which is several times faster on a CPU
    inside = current.clone().ge_(0) * current.clone().le_(2)
    fires = current.clone().ge_(1 - decay)
    return (fires * ((0.8 + 0.2 * decay) / (1 + decay)) + (1 - fires) * 0.2) * inside


def _mean(steps: list[Tensor]) -> Tensor:
    total = steps[0]
    for step in steps[1:]:
        total = total + step
    return total * (1 / len(steps))
