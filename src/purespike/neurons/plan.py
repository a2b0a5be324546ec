"""One run of the loop of any dynamics: its spikes, and the distances that surrogates look at."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from purespike.errors import InputError, kind_of
from purespike.neurons.dynamics import Dynamics, State
from purespike.neurons.surrogate import RememberingSurrogate, Surrogate


class Recorded(NamedTuple):
    """Neurons of one threshold over T steps; see :class:`~purespike.neurons.adjoint.Activity`."""

    inputs: list[Tensor]
    distances: list[Tensor]
    threshold: float
    decay: float | Tensor | None
    kept: list[tuple[Tensor, ...]] | None = None


class _Step(torch.autograd.Function):
    """Spikes of a distance; ``slope`` is taken for the derivative."""

    @staticmethod
    def forward(ctx: Any, distance: Tensor, slope: Tensor) -> Tensor:
        ctx.save_for_backward(slope)
        return distance.clone().ge_(0)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (slope,) = ctx.saved_tensors
        return gradient * slope, None


class _Spiking:
    """The spike function of one run of a loop; remembers its distances."""

    def __init__(self, plan: "Plan", kept: Tensor | None, slopes: list[Tensor] | None) -> None:
        self.plan, self.kept, self.slopes = plan, kept, slopes
        self.distances: list[Tensor] = []
        self.fired: list[Tensor] = []

    def __call__(self, distance: Tensor) -> Tensor:
        self.distances.append(distance.detach())
        if not torch.is_grad_enabled():
            return self.distances[-1].clone().ge_(0)
        fired: Tensor = _Step.apply(distance, self._slope())
        if self.plan.attached:
            return fired
        self.fired.append(fired)
        return fired.detach()

    def _slope(self) -> Tensor:
        t, surrogate, shape = len(self.distances) - 1, self.plan.surrogate, self.distances[-1].shape
        if self.slopes is not None:
            return self.slopes[t]
        if surrogate.pooled:
            levels = [self.plan.rows(self.distances, k) for k in range(self.plan.dynamics.levels)]
            return torch.stack([surrogate.slope(distances) for distances in levels]).reshape(shape)
        return surrogate.slope(self.distances, None if self.kept is None else self.kept[t].unbind(0))


@dataclass(frozen=True)
class Plan:
    """Everything the code of one loop depends on beside its tensors.

    The tensors are the current, ``[T, ...]``; parameters and random numbers by name; the state; and possibly
    the values a surrogate remembers, ``[T, V, ...]`` for V of each distance.
    """

    dynamics: Dynamics
    surrogate: Surrogate
    time_steps: int
    channels: bool
    """Whether the last dimension of the current holds channels."""
    names: tuple[str, ...] = ()
    states: int = 0
    attached: bool = True
    """Whether gradients flow through whatever a spike does to the state: the reset, an adaptation."""

    def __call__(self, tensors: Sequence[Tensor], slopes: list[Tensor] | None = None) -> tuple[Tensor, ...]:
        """Spikes ``[T, ...]`` in the type of the current, then the state."""
        spikes, state, _ = self._run(tensors, slopes)
        return torch.stack([step.to(tensors[0].dtype) for step in spikes]), *state

    def distances(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        with torch.no_grad():
            return self._run(tensors, None)[2]

    def remembered(self, tensors: Sequence[Tensor]) -> Tensor:
        """Values that the surrogate keeps after one more gradient, ``[T, V, ...]``."""
        *others, kept = tensors
        surrogate = self.surrogate
        assert isinstance(surrogate, RememberingSurrogate)
        after = [
            torch.stack(list(surrogate.remember(kept[t].unbind(0), distance)))
            for t, distance in enumerate(self.distances(others))
        ]
        return torch.stack(after)

    def activities(self, tensors: Sequence[Tensor]) -> list[Recorded]:
        """Neurons of each threshold, as surrogates see them."""
        current, distances = tensors[0].detach(), self.distances(tensors)
        current = current.to(torch.promote_types(current.dtype, torch.float32))
        named = {name: tensor.detach() for name, tensor in self._named(tensors).items()}
        current, share = self.dynamics.drive(current, named), self.dynamics.share_kept(named)
        inputs = self.rows(list(current.unbind(0)), 0, levels=1)
        return [
            Recorded(inputs, self.rows(distances, k), threshold, share)
            for k, threshold in enumerate(self.dynamics.thresholds)
        ]

    def rows(self, steps: list[Tensor], level: int, levels: int | None = None) -> list[Tensor]:
        """Each step of one threshold; for a pooled surrogate ``[M, C]``, or ``[M, 1]`` without channels."""
        levels = self.dynamics.levels if levels is None else levels
        if not self.surrogate.pooled:
            return [step[level] if levels > 1 else step for step in steps]
        columns = steps[0].shape[-1] if self.channels else 1
        return [step.reshape(levels, -1, columns)[level] for step in steps]

    def _named(self, tensors: Sequence[Tensor]) -> Mapping[str, Tensor]:
        return dict(zip(self.names, tensors[1:], strict=False))

    def _run(
        self, tensors: Sequence[Tensor], slopes: list[Tensor] | None
    ) -> tuple[Sequence[Tensor], State, list[Tensor]]:
        current, first = tensors[0], 1 + len(self.names)
        last = first + self.states
        spike = _Spiking(self, tensors[last] if len(tensors) > last else None, slopes)
        current = current.to(torch.promote_types(current.dtype, torch.float32))
        spikes, state = _returned(
            self.dynamics, self.dynamics.run(current, spike, tuple(tensors[first:last]), self._named(tensors))
        )
        if not len(spikes) == len(spike.distances) == self.time_steps:
            raise InputError(
                f"dynamics {self.dynamics.name}: run must call spike once a step and return as many spikes, "
                f"got {len(spike.distances)} calls and {len(spikes)} spikes of {self.time_steps} steps"
            )
        for step in spikes:
            if not isinstance(step, Tensor) or step.shape != current[0].shape:
                raise InputError(
                    f"dynamics {self.dynamics.name}: run must return spikes of each step in the shape of the "
                    f"current's, {list(current[0].shape)}, got {kind_of(step)}"
                )
        if spike.fired:
            # the loop saw constants: the gradient of its spikes is that of its thresholds together
            levels = spikes[0].ndim < spike.fired[0].ndim
            together = [fired.sum(0) if levels else fired for fired in spike.fired]
            spikes = [
                step.detach() + (fired - fired.detach()) for step, fired in zip(spikes, together, strict=True)
            ]
        return spikes, state, spike.distances


def _returned(dynamics: Dynamics, returned: Any) -> tuple[Sequence[Tensor], State]:
    """The spikes and the state that a loop returned."""
    if isinstance(returned, tuple | list) and len(returned) == 2:
        spikes, state = returned
        several = isinstance(spikes, tuple | list | Tensor) and isinstance(state, tuple | list)
        if several and all(isinstance(part, Tensor) for part in state):
            return spikes, tuple(state)
    raise InputError(
        f"dynamics {dynamics.name}: run must return the spikes of each step and the state after the last, a "
        f"tuple of tensors, as in `return spikes, (membrane,)`; got {_kinds(returned)}"
    )


def _kinds(value: Any) -> str:
    """The type of a value, of a pair or a state the types of its parts."""
    if isinstance(value, tuple) and len(value) <= 3:
        return f"({', '.join(_kinds(part) for part in value)})"
    return type(value).__name__
