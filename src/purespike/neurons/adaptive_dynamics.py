"""Leaky neurons whose threshold adapts, or whose leak is learned."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from purespike.neurons.dynamics import LIF_THRESHOLDS, Dynamics, Spike, State


@dataclass(frozen=True)
class AdaptiveLIF(Dynamics):
    r"""Leaky integrate-and-fire with an adaptive threshold (ALIF; Bellec et al. 2018, arXiv 1803.09574).

    .. math:: u[t] = d\,u[t-1]\,(1 - o[t-1]) + x[t], \quad o[t] = [u[t] \ge V + \beta\,a[t]], \quad
        a[t+1] = \rho\,a[t] + (1 - \rho)\,o[t]

    Every spike raises the threshold, which falls back to V. The reset is hard, as in the other neurons here,
    where the source subtracts the threshold. Gradient flows through reset and adaptation.

    Args:
        threshold: V.
        decay: d in [0, 1].
        rise: β, at least 0; the source takes 1.8 V.
        recovery: ρ in [0, 1].
        learned: whether training changes β, one value a layer. A negative one counts as 0.
    """

    threshold: float = LIF_THRESHOLDS[0]
    decay: float = 0.25
    rise: float = 1.08
    recovery: float = 0.9
    learned: bool = False

    def __post_init__(self) -> None:
        self.check("threshold", positive=True)
        self.check("decay", most=1)
        self.check("rise")
        self.check("recovery", most=1)

    def learnable(self, channels: int | None) -> dict[str, Tensor]:
        return {"rise": torch.tensor(float(self.rise))} if self.learned else {}

    def run(
        self, current: Tensor, spike: Spike, state: State, tensors: Mapping[str, Tensor]
    ) -> tuple[Sequence[Tensor], State]:
        rise = tensors["rise"].clamp(min=0) if self.learned else self.rise
        kept, adaptation = state or (torch.zeros_like(current[0]),) * 2
        spikes: list[Tensor] = []
        for x in current:
            membrane = self.decay * kept + x
            fired = spike(membrane - self.threshold - rise * adaptation)
            kept = membrane * (1 - fired)
            adaptation = self.recovery * adaptation + (1 - self.recovery) * fired
            spikes.append(fired)
        return spikes, (kept, adaptation)


@dataclass(frozen=True)
class ParametricLIF(Dynamics):
    r"""Leaky integrate-and-fire with a learned leak per layer (PLIF; Fang et al. 2021, arXiv 2007.05785).

    .. math:: u[t] = \sigma(a)\,u[t-1]\,(1 - o[t-1]) + x[t], \quad o[t] = [u[t] \ge V]

    σ is the logistic function and a the parameter. The source also scales x by 1 - σ(a), which the
    normalisation before a layer here makes up for.

    Args:
        threshold: V.
        decay: σ(a) before training, in (0, 1).
    """

    threshold: float = LIF_THRESHOLDS[0]
    decay: float = 0.25

    def __post_init__(self) -> None:
        self.check("threshold", positive=True)
        self.check("decay", least=1e-6, most=1 - 1e-6)

    def learnable(self, channels: int | None) -> dict[str, Tensor]:
        return {"leak": torch.tensor(math.log(self.decay / (1 - self.decay)))}

    def share_kept(self, tensors: Mapping[str, Tensor]) -> Tensor:
        return tensors["leak"].sigmoid()

    def run(
        self, current: Tensor, spike: Spike, state: State, tensors: Mapping[str, Tensor]
    ) -> tuple[Sequence[Tensor], State]:
        decay = self.share_kept(tensors)
        kept = state[0] if state else torch.zeros_like(current[0])
        spikes: list[Tensor] = []
        for x in current:
            membrane = decay * kept + x
            fired = spike(membrane - self.threshold)
            kept = membrane * (1 - fired)
            spikes.append(fired)
        return spikes, (kept,)
