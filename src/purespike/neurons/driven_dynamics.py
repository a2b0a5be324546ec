"""Leaky neurons whose current changes before it reaches the membrane: by noise, by a learned gain."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from purespike.errors import InputError
from purespike.neurons.dynamics import LIF_THRESHOLDS, MLF, Dynamics, Spike, State


@dataclass(frozen=True)
class _Driven(Dynamics, abstract=True):
    """Leaky integrate-and-fire, fed by :meth:`drive`."""

    threshold: float = LIF_THRESHOLDS[0]
    decay: float = 0.25

    def __post_init__(self) -> None:
        self.check("threshold", positive=True)
        self.check("decay", most=1)

    @property
    def kernel(self) -> MLF:
        return MLF((self.threshold,), self.decay)

    def drive(self, current: Tensor, tensors: Mapping[str, Tensor]) -> Tensor:
        """The current that the membranes get, same shape."""
        raise NotImplementedError

    def run(
        self, current: Tensor, spike: Spike, state: State, tensors: Mapping[str, Tensor]
    ) -> tuple[Sequence[Tensor], State]:
        kept = state[0] if state else torch.zeros_like(current[0])
        spikes: list[Tensor] = []
        for x in self.drive(current, tensors):
            membrane = self.decay * kept + x
            fired = spike(membrane - self.threshold)
            kept = membrane * (1 - fired)
            spikes.append(fired)
        return spikes, (kept,)


@dataclass(frozen=True)
class NoisyLIF(_Driven):
    r"""Leaky integrate-and-fire with Gaussian noise in the membrane while it trains (TGO, arXiv 2602.20548).

    .. math:: u[t] = d\,u[t-1]\,(1 - o[t-1]) + x[t] + \xi[t], \quad o[t] = [u[t] \ge V], \quad
        \xi[t] \sim N(0, \sigma^2)

    Every neuron draws its own at each step. With σ = 0 it is leaky integrate-and-fire.

    Args:
        threshold: V.
        decay: d in [0, 1].
        noise: σ, at least 0.
        always: whether there is noise in evaluation mode, too. An attack on a model that draws has to average
            its gradient (EOT).
    """

    noise: float = 0.06
    always: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check("noise")

    def drives(self, training: bool) -> bool:
        return bool(self.noise) and (training or self.always)

    def drawn(self, current: Tensor, training: bool) -> dict[str, Tensor]:
        if not self.drives(training):
            return {}
        # half precision would round small noise
        kind = torch.promote_types(current.dtype, torch.float32)
        noise = torch.empty(current.shape, dtype=kind, device=current.device)
        return {"noise": noise.normal_(std=self.noise)}

    def drive(self, current: Tensor, tensors: Mapping[str, Tensor]) -> Tensor:
        return current + tensors["noise"] if "noise" in tensors else current


@dataclass(frozen=True)
class DLIF(_Driven):
    r"""Leaky integrate-and-fire with a learned gain of each step (Ding et al., ICML 2024).

    .. math:: u[t] = d\,u[t-1]\,(1 - o[t-1]) + p[t]\,x[t], \quad o[t] = [u[t] \ge V]

    p is a parameter of the layer, 1 before training, where it is leaky integrate-and-fire.

    Args:
        threshold: V.
        decay: d in [0, 1]; 0.99 in the source.
        steps: T, the number of gains.
    """

    steps: int = 4

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check("steps", least=1)

    def learnable(self, channels: int | None) -> dict[str, Tensor]:
        return {"gain": torch.ones(self.steps)}

    def drive(self, current: Tensor, tensors: Mapping[str, Tensor]) -> Tensor:
        gain = tensors["gain"]
        if len(current) != len(gain):
            raise InputError(
                f"dynamics dlif: has a gain for each of {len(gain)} steps, but the current has "
                f"{len(current)}; write dlif(steps={len(current)}), as many as time_steps"
            )
        return gain.view(-1, *[1] * (current.ndim - 1)) * current
