"""Modules that spike out of reach: nobody can exchange their surrogate."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from purespike.checks import copy_for
from purespike.modes import mode
from purespike.neurons.foreign import foreign_neurons
from purespike.neurons.neuron import spiking_neurons


# not inference mode: a network that keeps its state would keep tensors that no attack can differentiate
@torch.no_grad()
def unknown_spiking_modules(model: nn.Module, images: Tensor) -> list[str]:
    """Names of the modules that turn analog values into whole numbers, and whose surrogate nobody can choose.

    Such are neurons of one's own, and quantisers: an attack differentiates them with nothing but their own
    surrogate, and the census does not see them. The others are a :class:`SpikingNeuron`, or a neuron of
    SpikingJelly or snnTorch (:func:`~purespike.neurons.foreign_neurons`). A module around another one,
    such as the last layer's ``Sequential``, is not named; nor is a layer that emits nothing but zeros.

    Args:
        model: any module; called once, in evaluation mode.
        images: input of the model, e.g. ``[N, C, H, W]`` in [0, 1].

    Returns:
        Names in the order of definition; ``""`` is the model itself.
    """
    modules = dict(model.named_modules())
    reached = {*spiking_neurons(model), *(neuron.module for neuron in foreign_neurons(model))}
    ours = [name for name, module in modules.items() if module in reached]
    names = [n for n in modules if not any(_inside(n, o) or _inside(o, n) or n == o for o in ours)]
    whole: dict[str, bool] = {}
    analog: set[str] = set()
    fired: set[str] = set()

    def watch(name: str) -> Any:
        def hook(_: nn.Module, given: tuple[Any, ...], named: dict[str, Any], result: Any) -> None:
            outputs = _first([result])
            if outputs is None or not outputs.numel():
                return
            whole[name] = whole.get(name, True) and _is_whole(outputs)
            if outputs.count_nonzero():
                fired.add(name)
            if not all(_is_whole(value) for value in (*given, *named.values()) if isinstance(value, Tensor)):
                analog.add(name)

        return hook

    hooks = [modules[name].register_forward_hook(watch(name), with_kwargs=True) for name in names]
    try:
        with mode(model, training=False):
            model(copy_for(model, images))
    finally:
        for handle in hooks:
            handle.remove()
    found = {name for name in names if whole.get(name) and name in analog and name in fired}

    def unit(name: str) -> str:
        """The module around this one, while it consists of nothing but such."""
        outer = name.rpartition(".")[0]
        parts = [n for n in whole if n.rpartition(".")[0] == outer and n != outer]
        return unit(outer) if outer in found and outer and found.issuperset(parts) else name

    innermost = [name for name in names if name in found and not any(_inside(n, name) for n in found)]
    return list(dict.fromkeys(map(unit, innermost)))


def _inside(name: str, outer: str) -> bool:
    return name != outer and (not outer or name.startswith(f"{outer}."))


def _first(values: Iterable[Any]) -> Tensor | None:
    """The first tensor of floating-point numbers, e.g. the spikes of spikes and membranes."""
    for value in values:
        if isinstance(value, tuple | list):
            return _first(value)
        if isinstance(value, Tensor):
            return value if value.is_floating_point() else None
    return None


def _is_whole(values: Tensor) -> bool:
    # a difference, since infinity equals itself rounded
    return bool((values - values.round() == 0).all())
