"""Multi-level firing neurons as a function and as a module; LIF is the case of one threshold."""

from collections.abc import Sequence

from torch import Tensor, nn

from purespike.neurons.adjoint import Firing, input_current, membrane_potentials
from purespike.neurons.dynamics import LIF_THRESHOLDS, MLF, MLF_THRESHOLDS
from purespike.neurons.elementwise_surrogates import Rectangle
from purespike.neurons.gates import Gates
from purespike.neurons.kernel import fire
from purespike.neurons.layout import check_current, flatten, memory_order, restore, undo
from purespike.neurons.memory import Memory
from purespike.neurons.neuron import SpikingNeuron
from purespike.neurons.normalised import fusible, normalise_and_fire, rows_of, scale_and_shift
from purespike.neurons.reset import Reset, parse_reset
from purespike.neurons.surrogate import Surrogate


def multi_level_firing(
    current: Tensor,
    *,
    thresholds: Sequence[float] = MLF_THRESHOLDS,
    decay: float = 0.25,
    surrogate: Surrogate | None = None,
    memory: Memory | None = None,
    reset: Reset = "attached",
) -> Tensor:
    r"""Multi-level firing (Feng et al. 2022; paper eqs. 5 and 6): K leaky membranes fed by one current.

    .. math:: u_k[t] = d\,u_k[t-1]\,(1 - o_k[t-1]) + x[t], \quad o_k[t] = [u_k[t] \ge V_k], \quad
        \hat o[t] = \textstyle\sum_k o_k[t]

    The reset is hard. Spikes depend on nothing but the arguments.

    Args:
        current: input current x, floating point, ``[T, ...]`` with T >= 1.
        thresholds: V_k, positive and ascending.
        decay: d in [0, 1], the share of the membrane potential kept from step to step.
        surrogate: derivative of the spike in backward; default ``Rectangle(width=1)``.
        memory: memory of these neurons, for a surrogate that remembers; each call with gradients moves it on.
        reset: whether gradients flow through the reset: ``"attached"`` or ``"detached"``.

    Returns:
        Spike counts ``0..K``, same shape, type and memory format as ``current``.

    Raises:
        InputError: an integer current, no time step, bad thresholds or decay, or an unknown reset.

    Example:
        >>> import torch
        >>> multi_level_firing(torch.tensor([[0.5], [0.5], [2.0]])).flatten().tolist()
        [0.0, 1.0, 2.0]
    """
    return _fire(current, MLF(tuple(thresholds), decay), surrogate or Rectangle(), memory, parse_reset(reset))


def _fire(
    current: Tensor, dynamics: MLF, surrogate: Surrogate, memory: Memory | None, reset: Reset
) -> Tensor:
    check_current(current)
    time_steps, attached = len(current), reset == "attached"
    if surrogate.pooled and current.ndim == 5:
        order = [0, 1, 3, 4, 2]
        rows = current.permute(order).contiguous()
        flat = rows.reshape(time_steps, rows.shape[1:-1].numel(), rows.shape[-1])
        return restore(fire(flat, time_steps, dynamics, surrogate, attached=attached), current, order)
    order = memory_order(current)
    permuted = current.permute(order).contiguous()
    layout = (tuple(current.shape), tuple(order))
    spikes = fire(flatten(permuted), time_steps, dynamics, surrogate, memory, layout, attached)
    return undo(spikes.view(permuted.shape), order)


class MultiLevelFiring(SpikingNeuron):
    """A layer of multi-level firing neurons; see :func:`multi_level_firing`.

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

    def forward(self, current: Tensor, norm: nn.BatchNorm2d | None = None) -> Tensor:
        """Spikes of ``current``; of ``norm(current)`` in one pass if ``norm`` is given and time is folded."""
        resting, time_steps = self.state is None, self.time_steps
        if norm is not None and resting and time_steps is not None and fusible(norm, current, time_steps):
            return self.gated(
                normalise_and_fire(
                    current,
                    norm,
                    time_steps,
                    self.dynamics,
                    self.surrogate,
                    self.memory,
                    self.reset == "attached",
                )
            )
        return super().forward(current, norm)

    def fire(self, current: Tensor) -> Tensor:
        if self.state is not None:
            # the kernel starts from rest
            return super().fire(current)
        return _fire(current, self.dynamics, self.surrogate, self.memory, self.reset)

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
