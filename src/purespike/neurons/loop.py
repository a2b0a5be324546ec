"""Neurons of any dynamics: the loop over the steps, which keeps nothing but its inputs for backward."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from purespike.errors import InputError
from purespike.neurons.compiled import differentiable
from purespike.neurons.dynamics import Dynamics, State
from purespike.neurons.elementwise_surrogates import Rectangle
from purespike.neurons.layout import check_current, flatten, memory_order, restore
from purespike.neurons.memory import Memory
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

    def __call__(self, distance: Tensor) -> Tensor:
        self.distances.append(distance.detach())
        if not torch.is_grad_enabled():
            return self.distances[-1].clone().ge_(0)
        return _Step.apply(distance, self._slope())

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
    """All that the code of one loop depends on beside its tensors.

    The tensors are the current, ``[T, ...]``; those by name; the state; and possibly what a surrogate
    remembers, ``[T, V, ...]`` for V values of each distance.
    """

    dynamics: Dynamics
    surrogate: Surrogate
    time_steps: int
    channels: bool
    """Whether the last dimension of the current holds channels."""
    names: tuple[str, ...] = ()
    states: int = 0

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
        share = self.dynamics.share_kept(self._named(tensors))
        share = share.detach() if isinstance(share, Tensor) else share
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
        spikes, state = self.dynamics.run(current, spike, tuple(tensors[first:last]), self._named(tensors))
        if not len(spikes) == len(spike.distances) == self.time_steps:
            raise InputError(
                f"dynamics {self.dynamics.name}: run must call spike once a step and return as many spikes, "
                f"got {len(spike.distances)} calls and {len(spikes)} spikes of {self.time_steps} steps"
            )
        return spikes, state, spike.distances


class _Recomputed(torch.autograd.Function):
    """A loop that runs again in backward, eagerly."""

    @staticmethod
    def forward(ctx: Any, plan: Plan, *tensors: Tensor) -> tuple[Tensor, ...]:
        ctx.plan = plan
        ctx.save_for_backward(*tensors)
        return _run(plan, tuple(tensor.detach() for tensor in tensors))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        plan: Plan = ctx.plan
        wanted: list[int] = [i for i, need in enumerate(ctx.needs_input_grad[1:]) if need]
        tensors = [tensor.detach() for tensor in ctx.saved_tensors]
        for i in wanted:
            tensors[i].requires_grad_()
        found: list[Tensor | None] = [None] * len(tensors)
        slopes = None if plan.surrogate.route == "time" else _slopes(plan, tensors)
        with torch.enable_grad():
            if slopes is not None and 0 in wanted:
                found[0] = _step_by_step(plan, tensors, slopes, gradients[0])
                wanted.remove(0)
            if wanted:
                outputs = [
                    pair
                    for pair in zip(plan(tensors, slopes), gradients, strict=True)
                    if pair[0].requires_grad
                ]
                each = torch.autograd.grad(
                    [output for output, _ in outputs],
                    [tensors[i] for i in wanted],
                    [gradient for _, gradient in outputs],
                    allow_unused=True,
                )
                for i, gradient in zip(wanted, each, strict=True):
                    found[i] = gradient
        return None, *found


def _slopes(plan: Plan, tensors: list[Tensor]) -> list[Tensor]:
    levels = [plan.surrogate.slopes(activity) for activity in plan.activities(tensors)]
    return [torch.stack(step) if len(step) > 1 else step[0] for step in zip(*levels, strict=True)]


def _step_by_step(plan: Plan, tensors: list[Tensor], slopes: list[Tensor], gradient: Tensor) -> Tensor:
    """Gradient of the current of each step through the spikes of the same step alone; or its mean."""
    steps = [step.detach().requires_grad_() for step in tensors[0].unbind(0)]
    # whatever one step leaves to the next is a constant: only the step's own spikes are differentiated
    spikes = plan((torch.stack(steps), *(tensor.detach() for tensor in tensors[1:])), slopes)[0]
    last = len(steps) - 1
    found = torch.stack(
        [
            torch.autograd.grad(spikes[t], step, gradient[t], retain_graph=t < last)[0]
            for t, step in enumerate(steps)
        ]
    )
    return found.mean(0, keepdim=True).expand_as(found) if plan.surrogate.route == "mean" else found


def fire_dynamics(
    current: Tensor,
    dynamics: Dynamics,
    surrogate: Surrogate,
    *,
    tensors: Mapping[str, Tensor] | None = None,
    state: State | None = None,
    training: bool = False,
    memory: Memory | None = None,
) -> tuple[Tensor, State]:
    """Spikes of neurons with any dynamics, and the membranes they leave.

    Args:
        current: input current, floating point, ``[T, N, ...]`` with T >= 1; channels are the third dimension.
        dynamics: moves the membranes.
        surrogate: derivative of the spike in backward.
        tensors: learnable parameters by name; by default their initial values.
        state: state that the call before returned, to go on from; ``()`` to start, ``None`` to keep none.
        training: whether the layer is in training mode.
        memory: memory of these neurons, for a surrogate that remembers; each call with gradients moves it on.

    Returns:
        Spikes, same shape, type and memory format as ``current``; and the state, channels last, ``()`` where
        ``state`` is ``None``.

    Raises:
        InputError: an integer current, no time step, a loop that does not call ``spike`` once a step, or a
            surrogate that is not defined for these dynamics.
    """
    plan, inputs, order = prepare(current, dynamics, surrogate, tensors, state, training)
    if memory is not None and torch.is_grad_enabled() and current.requires_grad:
        inputs = (*inputs, *_advance(memory, plan, inputs, current))
    spikes, *after = _run(plan, inputs)
    return restore(spikes, current, order), tuple(after) if state is not None else ()


def _run(plan: Plan, tensors: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    if not torch.is_grad_enabled() or not any(tensor.requires_grad for tensor in tensors):
        # one code for all surrogates, which have no part in it
        plan = replace(plan, surrogate=Rectangle())
        with torch.no_grad():
            return _compiled(_outputs, plan, tensors, lambda: plan(tensors))
    if plan.surrogate.route != "time" or plan.surrogate.pooled:
        return _Recomputed.apply(plan, *tensors)
    return _compiled(_outputs, plan, tensors, lambda: _Recomputed.apply(plan, *tensors))


def _compiled(function: Any, plan: Plan, tensors: tuple[Tensor, ...], eager: Callable[[], Any]) -> Any:
    subject = f"dynamics {plan.dynamics.name}"
    return differentiable(function, tensors, (plan,), eager=eager, subject=subject)


def _outputs(tensors: tuple[Tensor, ...], plan: Plan) -> tuple[Tensor, ...]:
    return plan(tensors)


def _remembered(tensors: tuple[Tensor, ...], plan: Plan) -> Tensor:
    return plan.remembered(tensors)


def prepare(
    current: Tensor,
    dynamics: Dynamics,
    surrogate: Surrogate,
    tensors: Mapping[str, Tensor] | None,
    state: State | None,
    training: bool,
) -> tuple[Plan, tuple[Tensor, ...], list[int]]:
    """The plan of a loop, its tensors, and the order in which the current's dimensions lie in them."""
    check_current(current)
    tensors = dynamics.learnable(None) if tensors is None else tensors
    surrogate.check_generic(dynamics, dynamics.share_kept(tensors) is not None)
    last = [i for i in range(current.ndim) if i != 2] + [2] * (current.ndim > 2)
    tensors = {**tensors, **dynamics.drawn(current.detach().permute(last), training)}
    channels = current.ndim == 5 and surrogate.pooled
    flat = state is None and not channels and all(tensor.ndim == 0 for tensor in tensors.values())
    order = memory_order(current) if flat else last
    rows = current.permute(order).contiguous()
    plan = Plan(dynamics, surrogate, len(current), channels, tuple(tensors), len(state or ()))
    return plan, (flatten(rows) if flat else rows, *tensors.values(), *(state or ())), order


def _advance(memory: Memory, plan: Plan, inputs: tuple[Tensor, ...], current: Tensor) -> list[Tensor]:
    surrogate = plan.surrogate
    if not isinstance(surrogate, RememberingSurrogate):
        return []
    detached = tuple(tensor.detach() for tensor in inputs)

    def start() -> Tensor:
        distances = torch.stack(plan.distances(detached))
        return torch.stack([torch.full_like(distances, first) for first in surrogate.initial], 1)

    def move(values: Tensor) -> Tensor:
        with torch.no_grad():
            return _compiled(
                _remembered, plan, (*detached, values), lambda: plan.remembered((*detached, values))
            )

    of = (current.shape, tuple(memory_order(current)), current.dtype, current.device, plan)
    return [memory.advance(of, start, move)]
