"""Input currents, membranes and spikes of the layers of neurons, with their graph, for penalties."""

import contextlib
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from purespike.errors import InputError
from purespike.neurons import Dynamics, ReLU, SpikingNeuron, Surrogate
from purespike.neurons.compiled import differentiable
from purespike.neurons.watched import Statistic


class Layer(NamedTuple):
    """One run of a layer of neurons on some images."""

    name: str
    neurons: SpikingNeuron
    current: Tensor
    """Input current, after any batch norm, ``[T, N, ...]``."""
    spikes: Tensor
    """Spike counts, same shape."""
    drawn: Mapping[str, Tensor] = {}
    """Random numbers that the dynamics drew, ``[T, N, ..., C]``."""
    seen: Mapping[Statistic, Tensor] = {}
    """Statistics of the membranes of all images, as far as the forward left them."""

    def distances(self) -> Tensor:
        """Membranes before the reset minus the threshold, ``[T, K, N, ..., C]`` for K thresholds.

        Computed again from the current by the dynamics themselves, so that gradients flow into the current
        and whatever the dynamics learn; through the spikes by the surrogate, unless the reset is detached.
        """
        return self.measured(_themselves)

    def statistic(self, wanted: Statistic) -> Tensor:
        """A statistic of the membranes: the one that the forward left, else computed again."""
        found = self.seen.get(wanted)
        return self.measured(_of_distances, wanted) if found is None else found

    def measured(self, measure: Callable[..., Tensor], *settings: Hashable) -> Tensor:
        """``measure(distances, *settings)``, compiled together with the distances where that pays.

        Args:
            measure: a module-level function.
            settings: constants of the compiled code.
        """
        neurons, rows = self.neurons, channels_last(self.current).contiguous()
        named = {**neurons.tensors(), **self.drawn}
        tensors = (rows, *named.values())
        attached = neurons.reset == "attached"
        constants = (tuple(named), neurons.dynamics, neurons.surrogate, attached, measure, settings)
        measured: Tensor = differentiable(
            *(_measured, tensors, constants),
            eager=lambda: _measured(tensors, *constants),
            subject=f"dynamics {neurons.dynamics.name}",
        )
        return measured

    def of(self, start: int, size: int) -> "Layer":
        """The run on so many of its images."""
        count = self.current.shape[1]

        def own(part: Tensor) -> Tensor:
            return part.narrow(1, start, size)

        drawn = {
            name: own(part) if part.shape[1:2] == (count,) else part for name, part in self.drawn.items()
        }
        # statistics are those of all images
        return self._replace(current=own(self.current), spikes=own(self.spikes), drawn=drawn, seen={})


def _themselves(distances: Tensor) -> Tensor:
    return distances


def _of_distances(distances: Tensor, statistic: Statistic) -> Tensor:
    return statistic.of([step.unbind(0) for step in distances.flatten(2, -2).unbind(0)])


def _measured(
    tensors: tuple[Tensor, ...],
    names: tuple[str, ...],
    dynamics: Dynamics,
    surrogate: Surrogate,
    attached: bool,
    measure: Callable[..., Tensor],
    settings: tuple[Any, ...],
) -> Tensor:
    rows = tensors[0].to(torch.promote_types(tensors[0].dtype, torch.float32))
    found: list[Tensor] = []

    def spike(distance: Tensor) -> Tensor:
        found.append(distance)
        fired = (distance >= 0).to(distance.dtype)
        # no more than a gradient: the difference is 0
        hidden = surrogate.derivative(distance.detach()) * (distance - distance.detach())
        return fired + hidden if attached else fired

    dynamics.run(rows, spike, (), dict(zip(names, tensors[1:], strict=True)))
    distances = torch.stack([step if step.ndim == rows.ndim else step[None] for step in found])
    return measure(distances if rows.ndim > 2 else distances[..., None], *settings)


class Recording(list[Layer]):
    """The runs of one forward, in the order of execution."""

    def split(self, sizes: list[int]) -> list[list[Layer]]:
        """The runs of each set of images, which lie one after the other in a batch."""
        if len(sizes) == 1:
            # the gradient of a part would lie in another memory order, which slows batch norms down
            return [list(self)]
        starts = [sum(sizes[:i]) for i in range(len(sizes))]
        return [[layer.of(start, size) for layer in self] for start, size in zip(starts, sizes, strict=True)]


def spiking(layers: Sequence[Layer], *, part: str) -> Sequence[Layer]:
    """``layers``, which the part of an objective called ``part`` cannot do without.

    Raises:
        InputError: there is none, or one that does not spike.
    """
    if not layers:
        raise InputError(f"{part}: needs layers of purespike's neurons, and the network has none")
    if any(isinstance(layer.neurons.dynamics, ReLU) for layer in layers):
        raise InputError(f"{part}: needs membranes with thresholds, which dynamics relu do not have")
    return layers


@contextlib.contextmanager
def recording(
    model: nn.Module, *, wanted: bool = True, statistics: tuple[Statistic, ...] = ()
) -> Iterator[Recording]:
    """Record every layer of neurons in the forwards made inside.

    A batch norm that would run fused with its neurons runs by itself, so that the current between them
    exists; that rounds differently and keeps one more tensor for backward.

    Args:
        model: any module, not wrapped.
        wanted: ``False`` records nothing and leaves the model alone.
        statistics: what neurons that can are to tell of their membranes, where a penalty would otherwise
            compute them again.
    """
    record = Recording()
    hooks = []
    parts = model.named_modules() if wanted else ()
    neurons = [(name, part) for name, part in parts if isinstance(part, SpikingNeuron)]
    for name, module in neurons:
        before, after = _recorders(record, name, statistics)
        hooks.append(module.register_forward_pre_hook(before, with_kwargs=True))
        hooks.append(module.register_forward_hook(after))
    try:
        yield record
    finally:
        for hook in hooks:
            hook.remove()
        # a forward that failed leaves its numbers behind
        for _, module in neurons:
            module.drawn, module.watched, module.seen = None, (), {}


def _recorders(record: Recording, name: str, statistics: tuple[Statistic, ...]) -> tuple[Any, Any]:
    """Hooks before and after a layer's forward, which fires with the numbers that are recorded."""

    def before(
        module: SpikingNeuron, inputs: tuple[Any, ...], named: dict[str, Any]
    ) -> tuple[tuple[Tensor], dict[str, Any]]:
        current = _normalised(*inputs, **named)
        steps = channels_last(_by_steps(module, current.detach()))
        module.drawn = module.dynamics.drawn(steps, module.training)
        module.watched = statistics
        return (current,), {}

    def after(module: SpikingNeuron, inputs: tuple[Tensor], spikes: Tensor) -> None:
        current, fired, drawn = _by_steps(module, inputs[0]), _by_steps(module, spikes), module.drawn or {}
        record.append(Layer(name, module, current, fired, drawn, module.seen))
        module.drawn, module.watched, module.seen = None, (), {}

    return before, after


def _normalised(current: Tensor, norm: nn.Module | None = None) -> Tensor:
    return current if norm is None else norm(current)


def _by_steps(module: SpikingNeuron, part: Tensor) -> Tensor:
    return part if module.time_steps is None else part.unflatten(0, (module.time_steps, -1))


def channels_last(current: Tensor) -> Tensor:
    """``[T, N, C, ...]`` as ``[T, N, ..., C]``, in which dynamics run."""
    return current.movedim(2, -1) if current.ndim > 2 else current
