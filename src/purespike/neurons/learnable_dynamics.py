"""Leaky neurons with a learned threshold and leak and a hard or a soft reset; and rectified linear ones."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from purespike.neurons.dynamics import Dynamics, Spike, State

LEAST = 0.03
"""A learned threshold counts as at least this, as in the code of robust conversion."""


@dataclass(frozen=True)
class LearnableLIF(Dynamics):
    r"""Leaky integrate-and-fire with a learned threshold and leak per layer (DIET-SNN, Rathi & Roy 2020).

    .. math:: u[t] = d\,\tilde u[t-1] + x[t], \quad o[t] = [u[t] \ge V], \quad
        \tilde u = u\,(1 - o) \text{ or, with a soft reset, } u - V o

    HIRE-SNN (Kundu et al. 2021) has the soft reset, robust conversion (Özdenizci & Legenstein 2024) the hard
    one and d = 1. Surrogates see :math:`V_0\,(u / V - 1)`, with V₀ the threshold before training: a window
    grows with its threshold. So a neuron is exactly one of threshold V₀ whose current is V₀/V times as large.
    V counts as at least 0.03, d as clipped to [0, 1].

    Args:
        threshold: V before training.
        decay: d before training, in [0, 1].
        soft: whether a spike subtracts the threshold from the membrane, instead of emptying it.
        learn_threshold: whether training changes V.
        learn_decay: whether training changes d.
    """

    threshold: float = 1.0
    decay: float = 1.0
    soft: bool = False
    learn_threshold: bool = True
    learn_decay: bool = True

    def __post_init__(self) -> None:
        self.check("threshold", least=LEAST)
        self.check("decay", most=1)

    def learnable(self, channels: int | None) -> dict[str, Tensor]:
        chosen = {"threshold": self.learn_threshold, "decay": self.learn_decay}
        return {name: torch.tensor(float(getattr(self, name))) for name, learned in chosen.items() if learned}

    def share_kept(self, tensors: Mapping[str, Tensor]) -> float | Tensor:
        return tensors["decay"].clamp(0, 1) if self.learn_decay else self.decay

    def drive(self, current: Tensor, tensors: Mapping[str, Tensor]) -> Tensor:
        return current * (self.threshold / self._level(tensors))

    def run(
        self, current: Tensor, spike: Spike, state: State, tensors: Mapping[str, Tensor]
    ) -> tuple[Sequence[Tensor], State]:
        level, decay = self._level(tensors), self.share_kept(tensors)
        gain = self.threshold / level
        kept = state[0] if state else torch.zeros_like(current[0])
        spikes: list[Tensor] = []
        for x in current:
            membrane = decay * kept + x
            fired = spike((membrane - level) * gain)
            kept = membrane - level * fired if self.soft else membrane * (1 - fired)
            spikes.append(fired)
        return spikes, (kept,)

    def _level(self, tensors: Mapping[str, Tensor]) -> float | Tensor:
        return tensors["threshold"].clamp(min=LEAST) if self.learn_threshold else self.threshold


@dataclass(frozen=True)
class ReLU(Dynamics):
    """No spikes but max(0, x): with one time step, the ANN that is the twin of any spiking network.

    Weights and batch norms are interchangeable with those of the spiking one. The derivative is exact, hence
    the same under every surrogate.
    """

    exact: ClassVar[bool] = True

    @property
    def thresholds(self) -> tuple[float, ...]:
        return (1.0,)

    def run(
        self, current: Tensor, spike: Spike, state: State, tensors: Mapping[str, Tensor]
    ) -> tuple[Sequence[Tensor], State]:
        outputs: list[Tensor] = []
        for x in current:
            with torch.no_grad():
                spike(x)
            outputs.append(x.relu())
        return outputs, ()
