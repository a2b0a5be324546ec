"""Membranes that one call of a model leaves to the next."""

import contextlib
from collections.abc import Iterator, Mapping

from torch import nn

from purespike.neurons.dynamics import State
from purespike.neurons.neuron import SpikingNeuron


class Carried:
    """The membranes of a model between its calls, inside :func:`carrying`."""

    def __init__(self, neurons: Mapping[str, SpikingNeuron]) -> None:
        self._neurons = neurons

    def membranes(self) -> dict[str, State]:
        """State of each layer of neurons after the last call, by module name; ``()`` before the first.

        A state is what :meth:`Dynamics.run` returned, mostly membranes ``[N, H, W, C]``, with its graph.
        """
        return {name: neuron.state or () for name, neuron in self._neurons.items()}

    def detach(self) -> None:
        """Let no gradient flow from the next call into the ones before."""
        for neuron in self._neurons.values():
            neuron.state = tuple(tensor.detach() for tensor in neuron.state or ())


@contextlib.contextmanager
def carrying(model: nn.Module, membranes: Mapping[str, State] | None = None) -> Iterator[Carried]:
    """Each call of ``model`` made inside goes on from the membranes that the one before left.

    So T steps in one call are as many in several. The calls are on the same images in the same order, and
    each layer runs once a call. Nothing is carried into the block or out of it. Multi-level firing takes its
    plain loop, which rounds otherwise than its kernel.

    Args:
        model: any module.
        membranes: membranes to begin with, as :meth:`Carried.membranes` gives them; by default none.
    """
    neurons = {name: each for name, each in model.named_modules() if isinstance(each, SpikingNeuron)}
    given = membranes or {}
    try:
        for name, neuron in neurons.items():
            neuron.state = tuple(given.get(name, ()))
        yield Carried(neurons)
    finally:
        for neuron in neurons.values():
            neuron.state = None
