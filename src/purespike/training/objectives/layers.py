"""Input currents and spikes of the layers of neurons, with their graph, for penalties on membranes."""

import contextlib
from collections.abc import Iterator
from typing import Any, NamedTuple

from torch import Tensor, nn

from purespike.neurons import SpikingNeuron


class Layer(NamedTuple):
    """One run of a layer of neurons on some images."""

    name: str
    neurons: SpikingNeuron
    current: Tensor
    """Input current, after any batch norm, ``[T, N, ...]``."""
    spikes: Tensor
    """Spike counts, same shape."""


class Recording(list[Layer]):
    """The runs of one forward, in the order of execution."""

    def split(self, sizes: list[int]) -> list[list[Layer]]:
        """The runs of each set of images, which lie one after the other in a batch."""
        starts = [sum(sizes[:i]) for i in range(len(sizes))]
        return [
            [
                layer._replace(
                    current=layer.current.narrow(1, start, size), spikes=layer.spikes.narrow(1, start, size)
                )
                for layer in self
            ]
            for start, size in zip(starts, sizes, strict=True)
        ]


@contextlib.contextmanager
def recording(model: nn.Module, *, wanted: bool = True) -> Iterator[Recording]:
    """Record every layer of neurons in the forwards made inside.

    A batch norm that would run fused with its neurons runs by itself, so that the current between them
    exists; that rounds differently and keeps one more tensor for backward.

    Args:
        model: any module, not wrapped.
        wanted: ``False`` records nothing and leaves the model alone.
    """
    record = Recording()
    hooks = []
    for name, module in model.named_modules() if wanted else ():
        if isinstance(module, SpikingNeuron):
            hooks.append(module.register_forward_pre_hook(_normalise_first, with_kwargs=True))
            hooks.append(module.register_forward_hook(_recorder(record, name)))
    try:
        yield record
    finally:
        for hook in hooks:
            hook.remove()


def _normalise_first(
    module: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any]
) -> tuple[tuple[Tensor], dict[str, Any]]:
    def current(current: Tensor, norm: nn.Module | None = None) -> Tensor:
        return current if norm is None else norm(current)

    return (current(*inputs, **named),), {}


def _recorder(record: Recording, name: str) -> Any:
    def hook(module: SpikingNeuron, inputs: tuple[Tensor], spikes: Tensor) -> None:
        pair = (inputs[0], spikes)
        if module.time_steps is not None:
            pair = tuple(part.unflatten(0, (module.time_steps, -1)) for part in pair)
        record.append(Layer(name, module, *pair))

    return hook
