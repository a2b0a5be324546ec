"""What there is to say about a model: architecture, size, and how often its neurons fire."""

from collections.abc import Iterator

import torch
from rich.console import RenderableType
from rich.table import Table
from torch import nn

from purespike.models import Defended
from purespike.models.calibration import natural_noise
from purespike.models.checkpoint import part_config
from purespike.neurons import MultiLevelFiring, firing_rates

SAMPLE = (8, 32)


def describe(model: nn.Module, *, device: torch.device | str = "cpu") -> Iterator[RenderableType]:
    """Lines and tables about ``model``: each part, its settings, and firing rates on synthetic images."""
    parts = {"model": model}
    if isinstance(model, Defended):
        parts = {"purifier": model.purifier, "classifier": model.classifier}
    for name, part in parts.items():
        yield _part(name, part)
    names = getattr(model, "class_names", None) or getattr(parts.get("classifier"), "class_names", None)
    if names:
        yield f"classes: {', '.join(map(str, names))}"
    for name, part in parts.items():
        if any(isinstance(module, MultiLevelFiring) for module in part.modules()):
            count, size = SAMPLE
            yield f"{name}: firing rates on {count} synthetic {size}×{size} images"
            yield _rates(part.to(device))


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
    count, size = SAMPLE
    images = natural_noise(count, getattr(part, "in_channels", 3), size, seed=0)
    device = next(part.parameters()).device
    table = Table()
    table.add_column("layer")
    table.add_column("rate", justify="right")
    table.add_column("")
    for layer, rate in firing_rates(part, images.to(device)).items():
        state = "silent" if rate < 0.01 else "saturated" if rate > 0.95 else ""
        table.add_row(layer, f"{rate:.3f}", state)
    return table
