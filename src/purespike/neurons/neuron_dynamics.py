"""Leaky neurons each of which has values of its own; see :meth:`Dynamics.per_neuron`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from purespike.neurons.dynamics import Dynamics, Spike, State


@dataclass(frozen=True)
class StepLIF(Dynamics):
    r"""Leaky integrate-and-fire whose leak is learned for every neuron and step (FEEL-SNN; Xu et al. 2024).

    .. math:: u[t] = \lambda_i[t]\,u[t-1]\,(1 - o[t-1]) + x[t], \quad o[t] = [u[t] \ge V]

    λ is free; with 1 everywhere the neurons are integrate-and-fire. That of the first step does nothing.
    Images have one size, and a run one number of steps.

    Args:
        threshold: V.
        decay: λ before training.
    """

    threshold: float = 1.0
    decay: float = 1.0

    def __post_init__(self) -> None:
        self.check("threshold", positive=True)
        self.check("decay", most=1)

    def per_neuron(self, time_steps: int, shape: Sequence[int]) -> dict[str, Tensor]:
        return {"leak": torch.full((time_steps, *shape), float(self.decay))}

    def share_kept(self, tensors: Mapping[str, Tensor]) -> None:
        """No constant: it differs from step to step."""

    def run(
        self, current: Tensor, spike: Spike, state: State, tensors: Mapping[str, Tensor]
    ) -> tuple[Sequence[Tensor], State]:
        kept = state[0] if state else torch.zeros_like(current[0])
        spikes: list[Tensor] = []
        for t, x in enumerate(current):
            membrane = tensors["leak"][t] * kept + x
            fired = spike(membrane - self.threshold)
            kept = membrane * (1 - fired)
            spikes.append(fired)
        return spikes, (kept,)


@dataclass(frozen=True)
class TALIF(Dynamics):
    r"""Leaky integrate-and-fire whose threshold follows the membrane (HoSNN; Geng & Li, TMLR 2025).

    .. math:: u[t] = d\,u[t-1]\,(1 - o[t-1]) + x[t], \quad e[t] = u[t] - u_i^*[t], \quad
        \theta[t] = \theta[t-1] + \vartheta_i\,e[t], \quad o[t] = [u[t] \ge \theta[t]]

    from :math:`\theta[0] = V` in each forward. :math:`u^*` is the membrane that neuron i has at that step on
    clean images, on average: the objective's part ``homeostasis`` records it, until then it is 0. The
    threshold has no lower bound. Gradient flows through membrane, reset and threshold. The source filters its
    currents with synapses besides, which the neurons here do not have.

    Args:
        threshold: V.
        decay: d in [0, 1].
        rise: ϑ before training, at least 0; a negative one counts as 0.
        blind: whether the derivative of the spike is taken at V, as if the threshold did not move, and no
            gradient flows through the threshold. As the authors' code does, to reproduce their figures: an
            attacker with this gradient does not see the defence. ϑ then stays where it is. Who exchanges
            the surrogate gets the whole derivative (:attr:`whole`).
    """

    threshold: float = 1.0
    decay: float = 0.8
    rise: float = 0.2
    blind: bool = False

    def __post_init__(self) -> None:
        self.check("threshold", positive=True)
        self.check("decay", most=1)
        self.check("rise")

    @property
    def whole(self) -> "TALIF":
        return replace(self, blind=False)

    def per_neuron(self, time_steps: int, shape: Sequence[int]) -> dict[str, Tensor]:
        return {} if self.blind else self._rise(shape)

    def recorded(self, time_steps: int, shape: Sequence[int]) -> dict[str, Tensor]:
        trace = {"trace": torch.zeros(time_steps, *shape)}
        return {**self._rise(shape), **trace} if self.blind else trace

    def _rise(self, shape: Sequence[int]) -> dict[str, Tensor]:
        return {"rise": torch.full(tuple(shape), float(self.rise))}

    def run(
        self, current: Tensor, spike: Spike, state: State, tensors: Mapping[str, Tensor]
    ) -> tuple[Sequence[Tensor], State]:
        rise = tensors["rise"].clamp(min=0)
        start = torch.zeros_like(current[0])
        kept, threshold = state or (start, start + self.threshold)
        spikes: list[Tensor] = []
        for x, usual in zip(current, tensors["trace"], strict=True):
            membrane = self.decay * kept + x
            threshold = threshold + rise * (membrane - usual)
            if self.blind:
                threshold = threshold.detach()
                seen = spike(membrane - self.threshold)
                fired = (membrane.detach() >= threshold).to(seen.dtype) + (seen - seen.detach())
            else:
                fired = spike(membrane - threshold)
            kept = membrane * (1 - fired)
            spikes.append(fired)
        return spikes, (kept, threshold)
