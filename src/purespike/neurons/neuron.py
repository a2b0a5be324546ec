"""The layer of neurons that surrogates, censuses and reports find in a model, whatever its dynamics."""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

from torch import Tensor, nn

from purespike.neurons.adjoint import Activity
from purespike.neurons.dynamics import Dynamics, State, parse_dynamics
from purespike.neurons.loop import fire_dynamics, prepare
from purespike.neurons.memory import Memory
from purespike.neurons.reset import Reset, parse_reset
from purespike.neurons.surrogate import Surrogate, parse_surrogate


class SpikingNeuron(nn.Module):
    """A layer of spiking neurons.

    Args:
        dynamics: moves the membranes, as an object or as text, e.g. ``"adaptivelif(rise=0.5)"``.
        surrogate: derivative of the spike, as an object or as text; swap it with :func:`surrogate_gradient`.
        time_steps: ``None`` if inputs are ``[T, ...]``; T if time is folded into the first dimension,
            ``[T·N, ...]`` with time outermost, as convolutions take it.
        channels: C of the current, for dynamics with a parameter per channel.
        reset: whether gradients flow through the reset, and whatever else a spike does to the state:
            ``"attached"`` or ``"detached"``.

    Raises:
        InputError: unknown dynamics, surrogate or reset, or dynamics and surrogate without a gradient.
    """

    def __init__(
        self,
        dynamics: Dynamics | str,
        surrogate: Surrogate | str = "rectangle",
        time_steps: int | None = None,
        channels: int | None = None,
        reset: Reset = "attached",
    ) -> None:
        super().__init__()
        self.dynamics = parse_dynamics(dynamics)
        self.surrogate = parse_surrogate(surrogate)
        self.reset = parse_reset(reset)
        self.time_steps = time_steps
        self.memory: Memory | None = None
        self.state: State | None = None
        """Membranes carried from call to call inside :func:`carrying`; ``None`` elsewhere."""
        learnable = self.dynamics.learnable(channels)
        self.learned = (
            nn.ParameterDict({name: nn.Parameter(value) for name, value in learnable.items()})
            if learnable
            else None
        )
        self.check_surrogate(self.surrogate)

    def __getstate__(self) -> dict[str, Any]:
        # a copy is another model, which nobody asks for gradients of the same images
        return {**self.__dict__, "memory": None, "state": None}

    @property
    def thresholds(self) -> tuple[float, ...]:
        return self.dynamics.thresholds

    @property
    def levels(self) -> int:
        """K, the most spikes that a neuron emits at one step."""
        return self.dynamics.levels

    def forward(self, current: Tensor, norm: nn.BatchNorm2d | None = None) -> Tensor:
        """Spikes of ``current``, or of ``norm(current)``, in its shape and type."""
        current = current if norm is None else norm(current)
        if self.time_steps is None:
            return self.fire(current)
        return self.fire(current.unflatten(0, (self.time_steps, -1))).flatten(0, 1)

    def fire(self, current: Tensor) -> Tensor:
        """Spikes of a current ``[T, ...]``."""
        spikes, after = fire_dynamics(
            current,
            self.dynamics,
            self.surrogate,
            tensors=self.tensors(),
            state=self.state,
            training=self.training,
            memory=self.memory,
            reset=self.reset,
        )
        if self.state is not None:
            self.state = after
        return spikes

    def tensors(self) -> dict[str, Tensor]:
        """Learnable parameters of the dynamics, by name."""
        return {} if self.learned is None else dict(self.learned.items())

    def activities(self, current: Tensor, norm: nn.BatchNorm2d | None = None) -> Sequence[Activity]:
        """Membranes of each threshold that :meth:`forward` moves with these arguments, without gradients."""
        current = current if norm is None else norm(current)
        if self.time_steps is not None:
            current = current.unflatten(0, (self.time_steps, -1))
        plan, inputs, _ = prepare(current, self.dynamics, self.surrogate, self.tensors(), None, self.training)
        return plan.activities(inputs)

    @contextlib.contextmanager
    def exchanged(self, surrogate: Surrogate | None, reset: Reset | None) -> Iterator[None]:
        """Another surrogate, with a fresh memory, and another reset inside, where they are given."""
        former = self.surrogate, self.memory, self.reset
        try:
            if surrogate is not None:
                self.surrogate, self.memory = surrogate, Memory() if surrogate.remembers else None
            if reset is not None:
                self.reset = reset
            yield
        finally:
            self.surrogate, self.memory, self.reset = former

    def check_surrogate(self, surrogate: Surrogate) -> None:
        """Refuse a surrogate that is not defined for these dynamics.

        Raises:
            InputError: the message names surrogate and dynamics.
        """
        surrogate.check_generic(self.dynamics, self.dynamics.share_kept(self.tensors()) is not None)

    def extra_repr(self) -> str:
        return f"dynamics={self.dynamics}, surrogate={self.surrogate}" + self.reset_repr()

    def reset_repr(self) -> str:
        return "" if self.reset == "attached" else f", reset={self.reset}"


def spiking_neurons(model: nn.Module) -> list[SpikingNeuron]:
    """Layers of neurons of ``model`` that are purespike's own, at every depth."""
    return [module for module in model.modules() if isinstance(module, SpikingNeuron)]
