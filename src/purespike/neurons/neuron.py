"""The layer of neurons that surrogates, censuses and reports find in a model, whatever its dynamics."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from purespike.errors import InputError
from purespike.modes import mode
from purespike.neurons.adjoint import Activity
from purespike.neurons.compiled import expecting
from purespike.neurons.dynamics import MLF, Dynamics, State, parse_dynamics
from purespike.neurons.gates import Gates
from purespike.neurons.layout import channels_last
from purespike.neurons.loop import fire_dynamics, prepare
from purespike.neurons.memory import Memory
from purespike.neurons.multi_level import fire_levels, fire_levels_watched
from purespike.neurons.normalised import fusible, normalise_and_fire
from purespike.neurons.recalibration import Recalibration
from purespike.neurons.reset import Reset, parse_reset
from purespike.neurons.surrogate import Surrogate, parse_surrogate
from purespike.neurons.watched import Statistic, watchable


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
        gates: stochastic gates after the neurons, where time is folded.

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
        gates: Gates | None = None,
    ) -> None:
        super().__init__()
        self.dynamics = parse_dynamics(dynamics)
        self.surrogate = parse_surrogate(surrogate)
        self.reset = parse_reset(reset)
        self.time_steps = time_steps
        self.memory: Memory | None = None
        self.state: State | None = None
        """Membranes carried from call to call inside :func:`carrying`; ``None`` elsewhere."""
        self.drawn: Mapping[str, Tensor] | None = None
        """Random numbers of the next call, where a recording drew them; ``None`` elsewhere."""
        self.watched: tuple[Statistic, ...] = ()
        """Statistics of the membranes that the next call is to leave in :attr:`seen`, for a recording."""
        self.seen: Mapping[Statistic, Tensor] = {}
        """Those of the last watched call; empty elsewhere, and where the dynamics or the surrogate have no
        kernel that tells them."""
        learnable = self.dynamics.learnable(channels)
        self.learned = (
            nn.ParameterDict({name: nn.Parameter(value) for name, value in learnable.items()})
            if learnable
            else None
        )
        self.gates = gates
        self.recalibration: Recalibration | None = None
        """What scales the channels of the spikes, where time is folded."""
        self.sizes: tuple[int, ...] | None = None
        """T and shape of the current, once :meth:`size` was called."""
        self._single: tuple[str, ...] = ()
        self.check_surrogate(self.surrogate)

    def __getstate__(self) -> dict[str, Any]:
        # a copy is another model, which nobody asks for gradients of the same images
        return {**self.__dict__, "memory": None, "state": None, "drawn": None, "seen": {}}

    @property
    def thresholds(self) -> tuple[float, ...]:
        return self.dynamics.thresholds

    @property
    def levels(self) -> int:
        """K, the most spikes that a neuron emits at one step."""
        return self.dynamics.levels

    @property
    def sized(self) -> bool:
        """Whether single neurons have values of their own, for one shape of the current."""
        return self.dynamics.sized or (self.gates is not None and self.gates.per == "neuron")

    def size(self, time_steps: int, shape: Sequence[int], device: torch.device | str | None = None) -> None:
        """Make the values of single neurons, at their start, for a current ``[T, N, *shape]``.

        Args:
            time_steps: T.
            shape: ``[C, H, W]`` or ``[C]``.
            device: device of the values.
        """
        shape = tuple(shape)
        parameters = self.dynamics.per_neuron(time_steps, shape)
        recorded = self.dynamics.recorded(time_steps, shape)
        if parameters:
            self.learned = nn.ParameterDict() if self.learned is None else self.learned
            self.learned.update({name: nn.Parameter(value.to(device)) for name, value in parameters.items()})
        if recorded:
            self.recorded = nn.Module()
            for name, value in recorded.items():
                self.recorded.register_buffer(name, value.to(device))
        if self.gates is not None:
            self.gates.size(shape, device)
        self.sizes, self._single = (time_steps, *shape), (*parameters, *recorded)

    def forward(self, current: Tensor, norm: nn.BatchNorm2d | None = None) -> Tensor:
        """Spikes of ``current``, or of ``norm(current)``, in its shape and type.

        With a kernel, and a current that the dynamics leave as it is, norm and neurons are one pass where
        time is folded.
        """
        kernel, time_steps = self._kernel(), self.time_steps
        fused = kernel is not None and not self.dynamics.drives(self.training)
        if fused and norm is not None and time_steps is not None and fusible(norm, current, time_steps):
            assert kernel is not None
            attached = self.reset == "attached"
            settings = time_steps, kernel, self.surrogate, self.memory, attached
            return self.gated(normalise_and_fire(current, norm, *settings))
        current = current if norm is None else norm(current)
        if time_steps is None:
            return self.fire(current)
        return self.gated(self.fire(current.unflatten(0, (time_steps, -1))).flatten(0, 1))

    def gated(self, spikes: Tensor) -> Tensor:
        """The spikes that the gates let pass, recalibrated."""
        spikes = spikes if self.gates is None else self.gates(spikes)
        return spikes if self.recalibration is None else self.recalibration(spikes)

    def fire(self, current: Tensor) -> Tensor:
        """Spikes of a current ``[T, ...]``."""
        if self.dynamics.sized and (len(current), *current.shape[2:]) != self.sizes:
            raise InputError(
                f"dynamics {self.dynamics.name}: every neuron has values of its own, for "
                f"{'no size yet' if self.sizes is None else list(self.sizes)} ([T, C, H, W]), "
                f"got {[len(current), *current.shape[2:]]}"
            )
        kernel = self._kernel()
        if kernel is not None:
            return self._fire_kernel(kernel, self.driven(current)).to(current.dtype)
        spikes, after = fire_dynamics(
            current,
            self.dynamics,
            self.surrogate,
            tensors=self.tensors(),
            state=self.state,
            training=self.training,
            memory=self.memory,
            reset=self.reset,
            drawn=self.drawn,
        )
        if self.state is not None:
            self.state = after
        return spikes

    def _kernel(self) -> MLF | None:
        """The kernel of this call, if it has one: it starts from rest."""
        return None if self.state is not None else self.dynamics.kernel

    def _fire_kernel(self, kernel: MLF, current: Tensor) -> Tensor:
        if not self.watched or not watchable(self.surrogate):
            return fire_levels(current, kernel, self.surrogate, self.memory, self.reset)
        spikes, *seen = fire_levels_watched(current, kernel, self.surrogate, self.reset, self.watched)
        self.seen = dict(zip(self.watched, seen, strict=True))
        return spikes

    def driven(self, current: Tensor) -> Tensor:
        """The current ``[T, ...]`` that the dynamics make of ``current``, random numbers included."""
        if not self.dynamics.drives(self.training):
            return current
        rows = current.movedim(2, -1) if current.ndim > 2 else current
        drawn = self.dynamics.drawn(rows.detach(), self.training) if self.drawn is None else self.drawn
        rows = self.dynamics.drive(rows, {**self.tensors(), **drawn})
        return rows.movedim(-1, 2) if current.ndim > 2 else rows

    def tensors(self) -> dict[str, Tensor]:
        """Learnable parameters of the dynamics and what is recorded of single neurons, by name.

        Those of single neurons have their channels last.
        """
        found: dict[str, Tensor] = {} if self.learned is None else dict(self.learned.items())
        if self.sizes is None:
            return found
        found |= dict(self.recorded.named_buffers()) if "recorded" in self._modules else {}
        dimensions = len(self.sizes) - 1
        return {
            name: channels_last(value, dimensions) if name in self._single else value
            for name, value in found.items()
        }

    def activities(self, current: Tensor, norm: nn.BatchNorm2d | None = None) -> Sequence[Activity]:
        """Membranes of each threshold that :meth:`forward` moves with these arguments, without gradients."""
        current = current if norm is None else norm(current)
        if self.time_steps is not None:
            current = current.unflatten(0, (self.time_steps, -1))
        plan, inputs, _ = prepare(current, self.dynamics, self.surrogate, self.tensors(), None, self.training)
        return plan.activities(inputs)

    @contextlib.contextmanager
    def exchanged(self, surrogate: Surrogate | None, reset: Reset | None) -> Iterator[None]:
        """Another surrogate, with a fresh memory, and another reset inside, where they are given.

        With a surrogate that is not the neurons' own, dynamics that hide a part of their derivative show it.
        """
        former = self.surrogate, self.memory, self.reset, self.dynamics
        try:
            if surrogate not in (None, self.surrogate):
                self.dynamics = self.dynamics.whole
            if surrogate is not None:
                self.surrogate, self.memory = surrogate, Memory() if surrogate.remembers else None
            if reset is not None:
                self.reset = reset
            yield
        finally:
            self.surrogate, self.memory, self.reset, self.dynamics = former

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


@torch.no_grad()
def size_neurons(model: nn.Module, images: Tensor) -> None:
    """Make the values of single neurons of every layer, by one forward of ``images`` that draws nothing.

    Args:
        model: network whose neurons have values of their own.
        images: one image or more of the only size that it will take.
    """

    def size(neuron: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        assert isinstance(neuron, SpikingNeuron)
        folded = neuron.time_steps is not None
        shape = inputs[0].shape[1 if folded else 2 :]
        neuron.size(neuron.time_steps or len(inputs[0]), shape, inputs[0].device)

    hooks = [neuron.register_forward_pre_hook(size) for neuron in spiking_neurons(model)]
    try:
        with mode(model, training=False), torch.random.fork_rng(devices=[]), expecting(0):
            model(images)
    finally:
        for hook in hooks:
            hook.remove()


def spiking_neurons(model: nn.Module) -> list[SpikingNeuron]:
    """Layers of neurons of ``model`` that are purespike's own, at every depth."""
    return [module for module in model.modules() if isinstance(module, SpikingNeuron)]
