"""Layers of multi-level firing neurons; LIF is the case of one threshold."""

from collections.abc import Sequence

from torch import Tensor, nn

from purespike.neurons.adjoint import Firing, input_current, membrane_potentials
from purespike.neurons.dynamics import LIF_THRESHOLDS, MLF, MLF_THRESHOLDS
from purespike.neurons.gates import Gates
from purespike.neurons.neuron import SpikingNeuron
from purespike.neurons.normalised import fusible, rows_of, scale_and_shift
from purespike.neurons.reset import Reset
from purespike.neurons.surrogate import Surrogate


class MultiLevelFiring(SpikingNeuron):
    """A layer of multi-level firing neurons; see :func:`~purespike.neurons.multi_level_firing`.

    Args:
        thresholds: V_k, positive and ascending.
        decay: share of the membrane potential kept from step to step.
        surrogate: derivative of the spike, as an object or as text; swap it with :func:`surrogate_gradient`.
        time_steps: ``None`` if inputs are ``[T, ...]``; T if time is folded into the first dimension,
            ``[T·N, ...]`` with time outermost, as convolutions take it.
        reset: whether gradients flow through the reset: ``"attached"`` or ``"detached"``.
        gates: stochastic gates after the neurons, where time is folded.
    """

    dynamics: MLF

    def __init__(
        self,
        thresholds: Sequence[float] = MLF_THRESHOLDS,
        decay: float = 0.25,
        surrogate: Surrogate | str = "rectangle",
        time_steps: int | None = None,
        reset: Reset = "attached",
        gates: Gates | None = None,
    ) -> None:
        super().__init__(MLF(tuple(thresholds), decay), surrogate, time_steps, reset=reset, gates=gates)

    @property
    def decay(self) -> float:
        return self.dynamics.decay

    def activities(self, current: Tensor, norm: nn.BatchNorm2d | None = None) -> list[Firing]:
        rows, affine = self._rows(current, norm)
        inputs = [input_current(rows, affine, t) for t in range(len(rows))]
        found: list[Firing] = []
        for threshold in self.thresholds:
            membranes, silent = membrane_potentials(inputs, threshold, self.decay)
            found.append(Firing(inputs, membranes, silent, rows.new_empty(0), threshold, self.decay))
        return found

    def _rows(self, current: Tensor, norm: nn.BatchNorm2d | None) -> tuple[Tensor, list[Tensor]]:
        """The current, channels last where it has any; scale and shift per channel, which come first."""
        images, time_steps = current.ndim == 4, self.time_steps
        affine: list[Tensor] = []
        if norm is not None and time_steps is not None and fusible(norm, current, time_steps):
            assert norm.running_mean is not None and norm.running_var is not None
            affine = [*scale_and_shift(norm, norm.running_mean, norm.running_var)[1:]]
        elif norm is not None:
            current = norm(current)
        if time_steps is None:
            time_steps, images = len(current), current.ndim == 5
            current = current.flatten(0, 1) if images else current
        return rows_of(current, time_steps) if images else current.reshape(time_steps, -1), affine

    def check_surrogate(self, surrogate: Surrogate) -> None:
        """Every surrogate defines its gradient for multi-level firing."""

    def extra_repr(self) -> str:
        own = f"thresholds={self.thresholds}, decay={self.decay}, surrogate={self.surrogate}"
        return own + self.reset_repr()


class LIF(MultiLevelFiring):
    """A layer of leaky integrate-and-fire neurons: multi-level firing with one threshold (paper eq. 5)."""

    def __init__(
        self,
        threshold: float = LIF_THRESHOLDS[0],
        decay: float = 0.25,
        surrogate: Surrogate | str = "rectangle",
        time_steps: int | None = None,
        reset: Reset = "attached",
    ) -> None:
        super().__init__((threshold,), decay, surrogate, time_steps, reset)
