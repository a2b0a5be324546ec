"""Gradients out of reach: modules that spike, and functions with a backward of their own."""

import contextlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import Function
from torch.nn.parameter import is_lazy

from purespike.checks import copy_for
from purespike.modes import frozen, mode, outside_inference_mode
from purespike.neurons.foreign import foreign_neurons
from purespike.neurons.neuron import spiking_neurons
from purespike.neurons.own_gradient import Kind, custom_functions_watched, kind_of_gradient

# range of the noise on the images: a quarter of the distance of two 8-bit pixels, so that none share a value
NOISE = 1e-3
# elements for each level of a quantised output, and levels of an input for each: values that repeat by chance
# are fewer
REPEATED, COARSER = 8, 4
# of the largest value, a difference that counts as none; of their distance, an unevenness of levels
ROUNDED, UNEVEN = 1e-5, 1e-2
# least distance of two levels, in differences that count as none: analog values, if there are enough of them,
# fill every such difference
APART = 16
# calls of one function that are compared with finite differences
COMPARED = 4


class OwnGradients(NamedTuple):
    """Gradients that a model defines for itself, and that no attacker exchanges.

    Args:
        spiking: names of the modules that spike, in the order of definition; ``""`` is the model itself.
        departing: other custom functions whose gradient is not the derivative of what they compute, as
            ``"FUNCTION in MODULE"``.
        unexamined: custom functions of which that could not be told.
    """

    spiking: list[str]
    departing: list[str]
    unexamined: list[str]


def unknown_spiking_modules(model: nn.Module, images: Tensor) -> list[str]:
    """Names of the modules that spike, and whose surrogate nobody can choose; see :func:`own_gradients`."""
    return own_gradients(model, images).spiking


def own_gradients(model: nn.Module, images: Tensor) -> OwnGradients:
    """Find what an attack differentiates with nothing but its own gradient, and the census does not see.

    A module spikes that turns analog values into whole numbers, or into a few evenly spaced ones such as 0
    and 0.5 with a gradient that is not zero; or in whose forward a custom ``torch.autograd.Function`` jumps
    between levels, while its backward says otherwise. Such are neurons of one's own, and quantisers. The
    others are a :class:`SpikingNeuron`, or a neuron of SpikingJelly or snnTorch
    (:func:`~purespike.neurons.foreign_neurons`). A module around another one, such as the last layer's
    ``Sequential``, is not named; nor is a layer that emits nothing but zeros.

    Custom functions whose backward is the derivative of their forward are passed by. So are tensors detached
    and added without such a function.

    Args:
        model: any module; called once, in evaluation mode.
        images: input of the model, e.g. ``[N, C, H, W]`` in [0, 1]; a little noise is added.
    """
    modules = dict(model.named_modules())
    reached = {*spiking_neurons(model), *(neuron.module for neuron in foreign_neurons(model))}
    ours = [name for name, module in modules.items() if module in reached]
    watched = _Watched(
        names=[n for n in modules if not any(_inside(n, o) or _inside(o, n) or n == o for o in ours)],
        reached=set(ours),
    )
    draw = torch.Generator().manual_seed(0)
    noise = torch.rand(images.shape, generator=draw).to(images)
    # in inference mode a network that keeps its state would keep tensors that no attack can differentiate
    with outside_inference_mode(), frozen(model), mode(model, training=False), watched.hooked(modules):
        differentiable = not any(each.is_inference() for each in model.parameters() if not is_lazy(each))
        with torch.set_grad_enabled(differentiable), custom_functions_watched(watched.function):
            probe = (images * (1 - NOISE) + NOISE * noise).detach().requires_grad_(differentiable)
            model(copy_for(model, probe))
    return watched.found(model)


class _Watched:
    """What one forward shows of modules and custom functions.

    Args:
        names: modules that are neither neurons within reach, nor around or inside one.
        reached: neurons within reach.
    """

    def __init__(self, names: list[str], reached: set[str]) -> None:
        self.names, self.reached = names, reached
        self.running: list[str] = []
        self.quantised: dict[str, bool] = {}
        self.from_analog: set[str] = set()
        self.fired: set[str] = set()
        self.kinds: dict[tuple[str, str], list[Kind]] = {}

    @contextlib.contextmanager
    def hooked(self, modules: dict[str, nn.Module]) -> Iterator[None]:
        with contextlib.ExitStack() as hooks:
            for name, module in modules.items():
                for handle in (
                    module.register_forward_pre_hook(self._enter(name)),
                    module.register_forward_hook(self._leave(name), with_kwargs=True),
                ):
                    hooks.callback(handle.remove)
            yield

    def _enter(self, name: str) -> Callable[..., None]:
        return lambda module, given: self.running.append(name)

    def _leave(self, name: str) -> Callable[..., None]:
        def leave(_: nn.Module, given: tuple[Any, ...], named: dict[str, Any], result: Any) -> None:
            # modules inside that raised did not leave
            while self.running.pop() != name:
                pass
            outputs = _first([result])
            if name in self.names and outputs is not None and outputs.numel():
                self._output(name, [each for each in (*given, *named.values()) if _is_analog(each)], outputs)

        return leave

    def _output(self, name: str, inputs: list[Tensor], outputs: Tensor) -> None:
        """Note an output of a module; its ``inputs`` are those that hold other than whole numbers."""
        if outputs.count_nonzero():
            self.fired.add(name)
        if not _is_analog(outputs):
            self.quantised.setdefault(name, True)
            if inputs:
                self.from_analog.add(name)
            return
        levels = _levels(outputs)
        self.quantised[name] = self.quantised.get(name, True) and levels > 0
        coarser = [each for each in inputs if len(each.unique()) >= COARSER * levels]
        if levels > 1 and coarser and _has_gradient(outputs, inputs):
            self.from_analog.add(name)

    def function(self, function: type[Function], given: tuple[Any, ...]) -> None:
        """Note a custom function that is about to be applied."""
        place = self.running[-1] if self.running else ""
        kinds = self.kinds.setdefault((place, function.__qualname__.rpartition(".")[2]), [])
        if len(kinds) < COMPARED and not self.reached.intersection(self.running):
            kinds.append(kind_of_gradient(function.apply, given))

    def found(self, model: nn.Module) -> OwnGradients:
        """The gradients out of reach in ``model``."""
        calling = {place for (place, _), kinds in self.kinds.items() if "spikes" in kinds}
        values = {name for name in self.names if self.quantised.get(name)} & self.from_analog & self.fired
        found = values | calling

        def unit(name: str) -> str:
            """The module around this one, while it consists of nothing but such."""
            outer = name.rpartition(".")[0]
            parts = [n for n in self.quantised if n.rpartition(".")[0] == outer and n != outer]
            return unit(outer) if outer in found and outer and found.issuperset(parts) else name

        def innermost(name: str) -> bool:
            return name in calling or not any(_inside(other, name) for other in found)

        def functions(kind: Kind) -> list[str]:
            return [
                f"{function} in {place or type(model).__name__}"
                for (place, function), kinds in self.kinds.items()
                if kind in kinds and "spikes" not in kinds
            ]

        spiking = [unit(name) for name, _ in model.named_modules() if name in found and innermost(name)]
        departing = functions("other")
        unexamined = [name for name in functions("unexamined") if name not in departing]
        return OwnGradients(list(dict.fromkeys(spiking)), departing, unexamined)


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


def _is_analog(value: Any) -> bool:
    """Whether a value is a tensor of floating point that holds other than whole numbers."""
    if not isinstance(value, Tensor) or not value.is_floating_point():
        return False
    # a difference, since infinity equals itself rounded
    return not bool((value - value.round() == 0).all())


def _levels(values: Tensor) -> int:
    """Number of levels of ``values`` if they are few and evenly spaced, else 0."""
    # what is added and subtracted again comes back with a rounding error
    step = values.detach().abs().amax().double() * ROUNDED
    distinct, counts = (values.detach() / step).round().unique(return_counts=True)
    if len(distinct) == 1:
        return 1
    # a rectifier that is nearly silent has two levels as well, the upper one once
    if REPEATED * len(distinct) > values.numel() or counts.sort().values[-2] == 1:
        return 0
    spacing = distinct.diff().min()
    if spacing < APART:
        return 0
    span = distinct[-1] - distinct[0]
    # over all of the span, since that of two neighbours is rounded
    places = (distinct - distinct[0]) / span * (span / spacing).round()
    return len(distinct) if ((places - places.round()).abs() <= UNEVEN).all() else 0


def _has_gradient(outputs: Tensor, inputs: list[Tensor]) -> bool:
    """Whether a gradient passes from ``outputs`` to ``inputs``."""
    wanted = [each for each in inputs if each.requires_grad]
    if not outputs.requires_grad or not wanted:
        return False
    gradients = torch.autograd.grad(outputs.sum(), wanted, retain_graph=True, allow_unused=True)
    return any(each is not None and bool(each.any()) for each in gradients)
