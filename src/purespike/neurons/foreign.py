"""Spiking neurons of other libraries whose surrogate is an attribute that can be exchanged."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from purespike.errors import InputError
from purespike.neurons.reset import Reset
from purespike.neurons.surrogate import Surrogate

# SpikingJelly's nodes, snnTorch's neurons
ATTRIBUTES = ("surrogate_function", "spike_grad")

Spike = Callable[..., Tensor]


@dataclass(frozen=True, eq=False)
class ForeignNeuron:
    """A layer of neurons that calls one of its attributes with the membrane minus the threshold.

    Args:
        module: the layer.
        attribute: name of the function from distances to spikes.
    """

    module: nn.Module
    attribute: str

    @property
    def reset(self) -> Reset | None:
        """Whether gradients flow through the reset; ``None`` where that cannot be chosen (snnTorch)."""
        detached = getattr(self.module, "detach_reset", None)
        if not isinstance(detached, bool):
            return None
        return "detached" if detached else "attached"

    @contextlib.contextmanager
    def exchanged(self, surrogate: Surrogate | None, reset: Reset | None) -> Iterator[None]:
        """Another surrogate and another reset inside, where they are given and the layer takes them."""
        settings: dict[str, Any] = vars(self.module)
        # setattr would refuse a function in the place of a child module, and the reverse
        children: dict[str, Any] = self.module._modules
        home = children if self.attribute in children else settings
        spike, own_reset = getattr(self.module, self.attribute), self.reset
        missing = self.attribute not in home
        try:
            if surrogate is not None:
                home[self.attribute] = Replaced(spike, surrogate)
            if reset is not None and own_reset is not None:
                settings["detach_reset"] = reset == "detached"
            yield
        finally:
            if missing:
                home.pop(self.attribute, None)
            else:
                home[self.attribute] = spike
            if own_reset is not None:
                settings["detach_reset"] = own_reset == "detached"

    def check_surrogate(self, surrogate: Surrogate) -> None:
        """Refuse a surrogate that needs more than the distance of one step.

        Raises:
            InputError: the message names surrogate and layer.
        """
        if surrogate.remembers or surrogate.pooled or surrogate.route != "time":
            raise InputError(
                f"surrogate {surrogate.name}: needs all time steps of a neuron, but "
                f"{type(self.module).__name__} shows one at a time; choose one that depends on the membrane "
                "alone, e.g. atan or triangle"
            )


def foreign_neurons(model: nn.Module) -> list[ForeignNeuron]:
    """Layers of neurons of other libraries in ``model``, at every depth, whose surrogate can be exchanged."""
    return [
        ForeignNeuron(module, name)
        for module in model.modules()
        for name in ATTRIBUTES
        if callable(getattr(module, name, None))
    ]


class Replaced(nn.Module):
    """The spikes of one function with the derivative of a surrogate.

    Args:
        spike: function from distances to spikes.
        surrogate: derivative in backward.
    """

    def __init__(self, spike: Spike, surrogate: Surrogate) -> None:
        super().__init__()
        # in a tuple: this module takes the place of the function, and does not own it
        self._spike, self.surrogate = (spike,), surrogate

    def forward(self, distance: Tensor, *others: Any, **named: Any) -> Tensor:
        with torch.no_grad():
            spikes = self._spike[0](distance, *others, **named)
        result: Tensor = _Spikes.apply(distance, spikes, self.surrogate)
        return result


class _Spikes(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, distance: Tensor, spikes: Tensor, surrogate: Surrogate) -> Tensor:
        ctx.save_for_backward(distance)
        ctx.surrogate = surrogate
        return spikes.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        (distance,) = ctx.saved_tensors
        return gradient * ctx.surrogate.derivative(distance), None, None
