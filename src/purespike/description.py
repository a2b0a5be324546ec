"""Description of a model: architecture, size, cost of an image, firing rates of its neurons."""

import heapq
from collections.abc import Iterator

import torch
from rich.console import RenderableType
from rich.table import Table
from torch import Tensor, nn

from purespike.errors import InputError
from purespike.models import Defended
from purespike.models.calibration import natural_noise
from purespike.models.checkpoint import part_config
from purespike.models.complexity import AC_PICOJOULES, MAC_PICOJOULES, LayerEnergy, complexity, energy
from purespike.neurons import firing_rates, spiking_neurons, unknown_spiking_modules

SAMPLE = (8, 32)
MOST_EXPENSIVE = 10


def describe(model: nn.Module, *, device: torch.device | str = "cpu") -> Iterator[RenderableType]:
    """Lines and tables about ``model``: each part and its settings; then the cost of an image and the firing
    rates, measured on synthetic images. The model moves to ``device``."""
    parts = {"model": model}
    if isinstance(model, Defended):
        parts = {"purifier": model.purifier, "classifier": model.classifier}
    for name, part in parts.items():
        yield _part(name, part)
    names = getattr(model, "class_names", None) or getattr(parts.get("classifier"), "class_names", None)
    if names:
        yield f"classes: {', '.join(map(str, names))}"
    model.to(device)
    yield from _costs(model, parts)
    for name, part in parts.items():
        if spiking_neurons(part):
            count, size = SAMPLE
            yield f"{name}: firing rates on {count} synthetic {size}×{size} images"
            yield _rates(part)
    yield from _unknown(model, parts)


def _unknown(model: nn.Module, parts: dict[str, nn.Module]) -> Iterator[str]:
    device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
    try:
        names = unknown_spiking_modules(model, _sample(*parts.values()).to(device))
    except Exception:
        # a model with other inputs is still described
        return
    if names:
        yield (
            f"spiking, but unknown to purespike: {', '.join(name or 'the model' for name in names)}; attacks "
            "use their own surrogate gradients only, and diagnostics of neurons skip them"
        )


def _costs(model: nn.Module, parts: dict[str, nn.Module]) -> Iterator[RenderableType]:
    count, size = SAMPLE
    images = _sample(*parts.values())
    channels = images.shape[1]
    rows = {**parts, "defended": model} if len(parts) > 1 else parts
    try:
        counted = {name: complexity(part, size, channels) for name, part in rows.items()}
        used = energy(model, images)
    except InputError as error:
        # a model with other inputs is still described
        yield f"cost of an image: not measured: {error}"
        return
    yield f"complexity: one {size}×{size} image of {channels} channel{'s' * (channels > 1)} (M: million)"
    table = _table("part", "parameters", "MACs/step", "MACs/image", "eq. 11 (time)", "eq. 12 (space)")
    for name, cost in counted.items():
        sums = (cost.macs, cost.macs_per_image, cost.time, cost.space)
        table.add_row(name, f"{cost.parameters:,}", *map(_millions, sums))
    yield table
    yield (
        f"energy: per image, on {count} synthetic {size}×{size} images; {AC_PICOJOULES} pJ a synaptic "
        f"operation, {MAC_PICOJOULES} pJ a MAC (45 nm, Horowitz 2014), memory not counted"
    )
    yield "synaptic operations follow firing rates, which differ on real images and after training"
    table = _table("part", "SynOps", "MACs left", "MACs spiking", "spiking µJ", "as ANN µJ")
    for name in rows:
        share = used.part(name) if name in parts and len(parts) > 1 else used
        table.add_row(
            name,
            _millions(share.synops),
            _millions(share.macs_left),
            f"{share.spiking_share:.1%}",
            _number(share.microjoules),
            _number(share.ann_microjoules),
        )
    yield table
    costly = heapq.nlargest(MOST_EXPENSIVE, used.layers, key=lambda layer: layer.microjoules)
    if len(costly) > 1:
        yield "the most expensive layers: runs per image (T), spikes per input and run, operations, energy"
        yield _layers(costly)


def _layers(layers: list[LayerEnergy]) -> Table:
    table = _table("layer", "T", "spikes", "operations", "µJ", "ANN µJ")
    for layer in layers:
        table.add_row(
            layer.name,
            str(layer.steps),
            f"{layer.spikes:.3f}" if layer.spiking else "analog",
            f"{_millions(layer.synops)} AC" if layer.spiking else f"{_millions(layer.macs_left)} MAC",
            _number(layer.microjoules),
            _number(layer.ann_microjoules),
        )
    return table


def _table(first: str, *numbers: str) -> Table:
    table = Table()
    # without room, a name is better wrapped than cut
    table.add_column(first, overflow="fold")
    for name in numbers:
        table.add_column(name, justify="right")
    return table


def _millions(count: float) -> str:
    return f"{count / 1e6:,.2f} M"


def _number(value: float) -> str:
    return f"{value:,.2f}" if value >= 1 else f"{value:.3g}"


def _sample(*parts: nn.Module) -> Tensor:
    """Synthetic images with the channels of the first part that declares them."""
    count, size = SAMPLE
    known = (getattr(part, "in_channels", None) for part in parts)
    channels = next((value for value in known if isinstance(value, int)), 3)
    return natural_noise(count, channels, size, seed=0)


def _part(name: str, part: nn.Module) -> Table:
    config = part_config(part)
    table = Table(title=f"{name}: {config.pop('architecture')}", title_justify="left", show_header=False)
    table.add_column()
    table.add_column()
    table.add_row("parameters", f"{sum(parameter.numel() for parameter in part.parameters()):,}")
    for key, value in config.items():
        table.add_row(key, _written(value))
    return table


def _written(value: object) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(_written(item) for item in value)
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _rates(part: nn.Module) -> Table:
    images = _sample(part)
    device = next(part.parameters()).device
    table = Table()
    table.add_column("layer")
    table.add_column("rate", justify="right")
    table.add_column("")
    for layer, rate in firing_rates(part, images.to(device)).items():
        state = "silent" if rate < 0.01 else "saturated" if rate > 0.95 else ""
        table.add_row(layer, f"{rate:.3f}", state)
    return table
