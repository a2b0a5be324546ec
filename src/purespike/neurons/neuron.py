"""The layer of neurons that surrogates, censuses and reports find in a model, whatever its dynamics."""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

from torch import Tensor, nn

from purespike.errors import InputError
from purespike.neurons.adjoint import Activity
from purespike.neurons.dynamics import Dynamics, parse_dynamics
from purespike.neurons.loop import fire_dynamics, prepare
from purespike.neurons.memory import Memory
from purespike.neurons.surrogate import Surrogate, parse_surrogate


class SpikingNeuron(nn.Module):
    """A layer of spiking neurons.

    Args:
        dynamics: moves the membranes, as an object or as text, e.g. ``"adaptivelif(rise=0.5)"``.
        surrogate: derivative of the spike, as an object or as text; swap it with :func:`surrogate_gradient`.
        time_steps: ``None`` if inputs are ``[T, ...]``; T if time is folded into the first dimension,
            ``[T·N, ...]`` with time outermost, as convolutions take it.
        channels: C of the current, for dynamics with a parameter per channel.

    Raises:
        InputError: unknown dynamics or surrogate, or a pair of them without a gradient.
    """

    def __init__(
        self,
        dynamics: Dynamics | str,
        surrogate: Surrogate | str = "rectangle",
        time_steps: int | None = None,
        channels: int | None = None,
    ) -> None:
        super().__init__()
        self.dynamics = parse_dynamics(dynamics)
        self.surrogate = parse_surrogate(surrogate)
        self.time_steps = time_steps
        self.memory: Memory | None = None
        learnable = self.dynamics.learnable(channels)
        self.learned = (
            nn.ParameterDict({name: nn.Parameter(value) for name, value in learnable.items()})
            if learnable
            else None
        )
        self.check_surrogate(self.surrogate)

    def __getstate__(self) -> dict[str, Any]:
        # a copy is another model, which nobody asks for gradients of the same images
        return {**self.__dict__, "memory": None}

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
        spikes, _ = fire_dynamics(
            current,
            self.dynamics,
            self.surrogate,
            tensors=self.tensors(),
            training=self.training,
            memory=self.memory,
        )
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

    def check_surrogate(self, surrogate: Surrogate) -> None:
        """Refuse a surrogate that is not defined for these dynamics.

        Raises:
            InputError: the message names surrogate and dynamics.
        """
        surrogate.check_generic(self.dynamics, self.dynamics.share_kept(self.tensors()) is not None)

    def extra_repr(self) -> str:
        return f"dynamics={self.dynamics}, surrogate={self.surrogate}"


def spiking_neurons(model: nn.Module) -> list[SpikingNeuron]:
    """Layers of neurons of ``model``, at every depth: those whose surrogate an attacker can choose."""
    return [module for module in model.modules() if isinstance(module, SpikingNeuron)]


def accepts(model: nn.Module, surrogate: Surrogate | str) -> bool:
    """Whether all neurons of ``model`` have a gradient under ``surrogate``.

    Raises:
        InputError: an unknown surrogate.
    """
    replacement = parse_surrogate(surrogate)
    try:
        for neuron in spiking_neurons(model):
            neuron.check_surrogate(replacement)
    except InputError:
        return False
    return True


@contextlib.contextmanager
def surrogate_gradient(model: nn.Module, surrogate: Surrogate | str) -> Iterator[None]:
    """Let every neuron of ``model`` use ``surrogate`` for forwards made inside, and their backwards.

    The attacker's derivative need not be the one of training. Spikes do not change. The former surrogates
    come back on any exit.

    A surrogate that remembers (:attr:`Surrogate.remembers`) gets a fresh memory in each layer, gone on exit.
    Every forward that records a graph moves it on, so a block is one attack on one batch: its images stay the
    same, in the same order, and each iteration takes one such forward. A batch of another size begins afresh.
    A layer that runs more than once in a forward mixes the memories of its runs. A copy of the model
    made inside keeps the surrogate but remembers nothing.

    Args:
        model: any module; neurons are found at every depth, e.g. in both parts of a ``Defended``.
        surrogate: the derivative to use instead.

    Raises:
        InputError: an unknown surrogate, or one that is not defined for the dynamics of a layer.
    """
    neurons = spiking_neurons(model)
    former = [(neuron.surrogate, neuron.memory) for neuron in neurons]
    replacement = parse_surrogate(surrogate)
    for neuron in neurons:
        neuron.check_surrogate(replacement)
    try:
        for neuron in neurons:
            neuron.surrogate = replacement
            neuron.memory = Memory() if replacement.remembers else None
        yield
    finally:
        for neuron, (own, memory) in zip(neurons, former, strict=True):
            neuron.surrogate, neuron.memory = own, memory
