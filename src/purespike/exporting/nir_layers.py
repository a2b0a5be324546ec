"""Layers of our classifiers in NIR; a layer that it cannot express is named."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from purespike.errors import InputError
from purespike.exporting.nir_graph import Graph, Signal
from purespike.models import SpikingClassifier
from purespike.models.coding import Direct
from purespike.models.layers import ConvexPair, Layers, Normalise, PointwiseConvolution, SpatialMean
from purespike.models.resnet import DormantSuppressedBlock
from purespike.models.senet import PreActivationBlock
from purespike.neurons import LIF, MultiLevelFiring, SpikingNeuron

Converter = Callable[[Any, Graph, Signal, str], Signal]
_CONVERTERS: dict[type[nn.Module], Converter] = {}


def _converts(*kinds: type[nn.Module]) -> Callable[[Converter], Converter]:
    def register(convert: Converter) -> Converter:
        _CONVERTERS.update(dict.fromkeys(kinds, convert))
        return convert

    return register


def convert(module: nn.Module, graph: Graph, signal: Signal, name: str) -> Signal:
    """Append ``module``, called ``name``, to ``graph``.

    Args:
        module: a layer or a network in evaluation mode.
        graph: the graph so far.
        signal: what the module takes.
        name: dotted name of the module in its model.

    Returns:
        What it gives.

    Raises:
        InputError: NIR cannot express it; the message names the layer.
    """
    converter = _CONVERTERS.get(type(module))
    if converter is None:
        raise _inexpressible(*_first_unknown(module, name))
    return converter(module, graph, signal, name)


def _first_unknown(module: nn.Module, name: str) -> tuple[str, nn.Module]:
    """The first layer inside ``module`` without a converter; the module itself if all have one."""
    for inner, part in module.named_modules():
        if not any(part.children()) and type(part) not in _CONVERTERS:
            return ".".join(filter(None, (name, inner))), part
    return name, module


def _inexpressible(name: str, module: nn.Module, why: str = "NIR has no node for it") -> InputError:
    return InputError(
        f"{name or 'the model'} ({type(module).__name__}): {why}; NIR takes classifiers of convolutions, "
        "batch norms, poolings and multi-level firing (resnet14_snn, wideresnet16_8_snn, …); try .onnx"
    )


@_converts(SpikingClassifier)
def _classifier(model: SpikingClassifier, graph: Graph, signal: Signal, name: str) -> Signal:
    if type(model.coding) is not Direct:
        raise _inexpressible(f"{_inside(name, 'coding')}", model, f"NIR has no coding {model.coding.name}")
    for part in ("normalise", "stem", "body", "head", "readout"):
        signal = convert(getattr(model, part), graph, signal, _inside(name, part))
    return signal


@_converts(nn.Sequential, Layers)
def _sequence(module: nn.Sequential, graph: Graph, signal: Signal, name: str) -> Signal:
    for inner, part in module.named_children():
        signal = convert(part, graph, signal, _inside(name, inner))
    return signal


@_converts(DormantSuppressedBlock)
def _residual(block: DormantSuppressedBlock, graph: Graph, signal: Signal, name: str) -> Signal:
    residual = convert(block.residual, graph, signal, _inside(name, "residual"))
    return residual + convert(block.shortcut, graph, signal, _inside(name, "shortcut"))


@_converts(PreActivationBlock)
def _preactivation(block: PreActivationBlock, graph: Graph, signal: Signal, name: str) -> Signal:
    spikes, shortcut = convert(block.activation1, graph, signal, _inside(name, "activation1")), signal
    if block.shortcut is not None:
        shortcut = convert(block.shortcut, graph, spikes, _inside(name, "shortcut"))
    residual = spikes
    for part in ("conv1", "activation2", "conv2"):
        residual = convert(getattr(block, part), graph, residual, _inside(name, part))
    if block.gate is None:
        return residual + shortcut
    gate = _inside(name, "gate")
    if type(block.gate) is not ConvexPair:
        raise _inexpressible(gate, block.gate)
    parts = zip(("residual", "shortcut"), (residual, shortcut), block.gate.weights, strict=True)
    first, second = (
        graph.scale(_inside(gate, part), each, weight.expand(each.shape[0]), torch.zeros(each.shape[0]))
        for part, each, weight in parts
    )
    return first + second


@_converts(Normalise)
def _normalise(module: Normalise, graph: Graph, signal: Signal, name: str) -> Signal:
    # not folded into the convolution that follows, whose zero padding pads normalised images
    scale = 1 / module.std.double().flatten()
    return graph.scale(name, signal, scale, -module.mean.double().flatten() * scale)


@_converts(nn.Conv2d, PointwiseConvolution)
def _convolution(module: nn.Conv2d, graph: Graph, signal: Signal, name: str) -> Signal:
    if module.groups != 1:
        raise _inexpressible(name, module, "NIR's type check refuses convolutions in groups")
    if module.padding_mode != "zeros" or isinstance(module.padding, str):
        raise _inexpressible(name, module, f"NIR has no padding {module.padding_mode} {module.padding}")
    settings = {key: getattr(module, key) for key in ("stride", "padding", "dilation")}
    return graph.convolve(name, signal, module.weight, module.bias, **settings)


@_converts(nn.BatchNorm2d)
def _batch_norm(module: nn.BatchNorm2d, graph: Graph, signal: Signal, name: str) -> Signal:
    if module.running_mean is None or module.running_var is None:
        raise _inexpressible(name, module, "it normalises by each batch")
    ones = torch.ones_like(module.running_mean)
    weight = ones if module.weight is None else module.weight
    bias: Tensor = 0 * ones if module.bias is None else module.bias
    scale = weight.double() / (module.running_var.double() + module.eps).sqrt()
    return graph.scale(name, signal, scale, bias.double() - module.running_mean.double() * scale)


@_converts(MultiLevelFiring, LIF)
def _neurons(module: MultiLevelFiring, graph: Graph, signal: Signal, name: str) -> Signal:
    if module.gates is not None or module.recalibration is not None:
        part = "gates" if module.gates is not None else "recalibration"
        raise _inexpressible(name, module, f"NIR has no node for its {part}")
    return graph.fire(name, signal, module)


@_converts(SpikingNeuron)
def _other_neurons(module: SpikingNeuron, graph: Graph, signal: Signal, name: str) -> Signal:
    raise _inexpressible(name, module, f"NIR has no neuron with dynamics {module.dynamics.name}")


@_converts(nn.Linear)
def _linear(module: nn.Linear, graph: Graph, signal: Signal, name: str) -> Signal:
    return graph.affine(name, signal, module.weight, module.bias)


@_converts(nn.AvgPool2d, nn.AdaptiveAvgPool2d)
def _pool(module: nn.AvgPool2d | nn.AdaptiveAvgPool2d, graph: Graph, signal: Signal, name: str) -> Signal:
    sides = signal.shape[1:]
    if isinstance(module, nn.AdaptiveAvgPool2d):
        wanted = [sides[i] if n is None else n for i, n in enumerate(_pair(module.output_size))]
        windows = [side // n for side, n in zip(sides, wanted, strict=True)]
        fits = all(n * window == side for side, n, window in zip(sides, wanted, windows, strict=True))
    else:
        windows = _pair(module.kernel_size)
        fits = windows == _pair(module.stride) and not any(_pair(module.padding))
        fits = fits and not any(side % window for side, window in zip(sides, windows, strict=True))
    if not fits:
        raise _inexpressible(name, module, f"its windows do not divide maps of {sides[0]}×{sides[1]}")
    return signal if all(window == 1 for window in windows) else graph.pool(name, signal, windows)


@_converts(SpatialMean)
def _spatial_mean(module: SpatialMean, graph: Graph, signal: Signal, name: str) -> Signal:
    return graph.flatten(f"{name}_flat", graph.pool(name, signal, signal.shape[1:]))


@_converts(nn.Flatten)
def _flatten(module: nn.Flatten, graph: Graph, signal: Signal, name: str) -> Signal:
    if (module.start_dim, module.end_dim) != (1, -1):
        raise _inexpressible(name, module, "only all dimensions of an image can be flattened")
    return graph.flatten(name, signal)


@_converts(nn.Identity, nn.Dropout, nn.Dropout2d)
def _identity(module: nn.Module, graph: Graph, signal: Signal, name: str) -> Signal:
    return signal


def _inside(name: str, part: str) -> str:
    return f"{name}.{part}" if name else part


def _pair(value: Any) -> list[Any]:
    return list(value) if isinstance(value, tuple | list) else [value, value]
