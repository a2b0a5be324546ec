"""Example images, clean, attacked and purified, as a matplotlib ``Figure``."""

import math

import numpy as np
from matplotlib.figure import Figure

from purespike.reporting.drawing import INK, RIGHT, WRONG, new_figure
from purespike.results import Samples

_COLUMNS = 8


def sample_grid(samples: Samples) -> Figure:
    """Example images by column: clean, adversarial, purified, and both differences on mid grey.

    Both differences share one amplification factor, the one that makes the perturbation fill half the range.
    Predictions are coloured and marked by right or wrong.
    """
    clean, adversarial, purified = (
        np.asarray(images[:_COLUMNS], np.float32)
        for images in (samples.clean, samples.adversarial, samples.purified)
    )
    perturbation, change = adversarial - clean, purified - clean
    factor = amplification(perturbation)
    rows = [
        ("Clean", clean, samples.labels),
        ("Adversarial", adversarial, samples.undefended_prediction),
        ("Purified", purified, samples.defended_prediction),
        (f"Perturbation\n×{factor}, grey = 0", 0.5 + factor * perturbation, None),
        (f"Purified − clean\n×{factor}, grey = 0", 0.5 + factor * change, None),
    ]
    columns = len(clean)
    figure = new_figure(10, 0.5 + (10 - 1.4) / max(columns, 5) * 5.6)
    grid = figure.subplots(len(rows), columns, squeeze=False)
    for line, (title, images, prediction) in zip(grid, rows, strict=True):
        line[0].set_ylabel(title, rotation=0, ha="right", va="center", fontsize=9.5, color=INK, labelpad=8)
        for axes, image, index in zip(line, images, range(columns), strict=True):
            picture = np.nan_to_num(np.moveaxis(image, 0, -1), nan=0.5).clip(0, 1)
            axes.imshow(
                picture.squeeze(-1) if picture.shape[-1] == 1 else picture, cmap="gray", vmin=0, vmax=1
            )
            axes.set_xticks([])
            axes.set_yticks([])
            for spine in axes.spines.values():
                spine.set(color="#c9cdd3", linewidth=0.8)
            if prediction is not None:
                text, color = _verdict(samples, prediction, index)
                axes.set_xlabel(text, fontsize=8.5, color=color, labelpad=3, parse_math=False)
    return figure


def amplification(perturbation: np.ndarray) -> int:
    """The whole factor at which the perturbation spans half the range; 1 if there is none."""
    largest = float(np.abs(perturbation).max(initial=0.0))
    return max(1, math.floor(0.505 / largest)) if largest > 1e-6 else 1


def _verdict(samples: Samples, prediction: np.ndarray, index: int) -> tuple[str, str]:
    value, names = int(prediction[index]), samples.class_names
    name = names[value] if 0 <= value < len(names) else str(value)
    name = name if len(name) <= 11 else name[:10] + "…"
    if prediction is samples.labels:
        return name, INK
    return (f"✓ {name}", RIGHT) if value == int(samples.labels[index]) else (f"✗ {name}", WRONG)
