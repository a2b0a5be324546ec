"""Neurons of any dynamics: the loop over the steps, which keeps nothing but its inputs for backward."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from purespike.neurons.compiled import differentiable
from purespike.neurons.dynamics import Dynamics, State
from purespike.neurons.elementwise_surrogates import Rectangle
from purespike.neurons.layout import channels_last, check_current, flatten, memory_order, restore
from purespike.neurons.memory import Memory
from purespike.neurons.plan import Plan
from purespike.neurons.reset import Reset, parse_reset
from purespike.neurons.surrogate import RememberingSurrogate, Surrogate


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
    reset: Reset = "attached",
    drawn: Mapping[str, Tensor] | None = None,
) -> tuple[Tensor, State]:
    """Spikes of neurons with any dynamics, and the membranes they leave.

    A surrogate over all steps (HART, RateBased, BPTR) defines the gradient of the current alone;
    parameters and state get theirs through time, with its slopes. Layers whose dynamics have a kernel run
    that instead, whose gradient under these surrogates is the one of multi-level firing.

    Args:
        current: input current, floating point, ``[T, N, ...]`` with T >= 1; channels are the third dimension.
        dynamics: moves the membranes.
        surrogate: derivative of the spike in backward.
        tensors: learnable parameters and what is recorded of single neurons (channels last), by name; by
            default their initial values.
        state: state that the call before returned, to go on from; ``()`` to start, ``None`` to keep none.
        training: whether the layer is in training mode.
        memory: memory of these neurons, for a surrogate that remembers; each call with gradients moves it on.
        reset: ``"detached"`` stops gradients through whatever a spike does to the state.
        drawn: random numbers of the dynamics, where they have been drawn already.

    Returns:
        Spikes, same shape, type and memory format as ``current``; and the state, channels last, ``()`` where
        ``state`` is ``None``.

    Raises:
        InputError: an integer current, no time step, a loop that does not call ``spike`` once a step, or a
            surrogate that is not defined for these dynamics.
    """
    plan, inputs, order = prepare(current, dynamics, surrogate, tensors, state, training, drawn)
    plan = replace(plan, attached=parse_reset(reset) == "attached")
    if memory is not None and torch.is_grad_enabled() and current.requires_grad:
        inputs = (*inputs, *_advance(memory, plan, inputs, current))
    spikes, *after = _run(plan, inputs)
    return restore(spikes, current, order), tuple(after) if state is not None else ()


def _run(plan: Plan, tensors: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    if not torch.is_grad_enabled() or not any(tensor.requires_grad for tensor in tensors):
        # one code for all surrogates and resets, which have no part in it
        plan = replace(plan, surrogate=Rectangle(), attached=True)
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
    drawn: Mapping[str, Tensor] | None = None,
) -> tuple[Plan, tuple[Tensor, ...], list[int]]:
    """The plan of a loop, its tensors, and the order in which the current's dimensions lie in them."""
    check_current(current)
    tensors = _initial(dynamics, current) if tensors is None else tensors
    surrogate.check_generic(dynamics, dynamics.share_kept(tensors) is not None)
    last = [i for i in range(current.ndim) if i != 2] + [2] * (current.ndim > 2)
    drawn = dynamics.drawn(current.detach().permute(last), training) if drawn is None else drawn
    tensors = {**tensors, **drawn}
    channels = current.ndim == 5 and surrogate.pooled
    flat = state is None and not channels and all(tensor.ndim == 0 for tensor in tensors.values())
    order = memory_order(current) if flat else last
    rows = current.permute(order).contiguous()
    plan = Plan(dynamics, surrogate, len(current), channels, tuple(tensors), len(state or ()))
    return plan, (flatten(rows) if flat else rows, *tensors.values(), *(state or ())), order


def _initial(dynamics: Dynamics, current: Tensor) -> dict[str, Tensor]:
    shape = current.shape[2:]
    single = dynamics.per_neuron(len(current), shape) | dynamics.recorded(len(current), shape)
    ordered = {name: channels_last(value, len(shape)) for name, value in single.items()}
    return dynamics.learnable(None) | ordered


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
