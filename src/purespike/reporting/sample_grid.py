"""Example images, clean, attacked and purified, as a matplotlib ``Figure``."""

import math

import numpy as np
from matplotlib.figure import Figure

from purespike.reporting.drawing import EDGE, INK, NARROW, RIGHT, TEXT, WIDE, WRONG, new_figure
from purespike.results import Samples

_COLUMNS, _FEW = 8, 3


def sample_grid(samples: Samples, *, narrow: bool = False) -> Figure:
    """Example images by column: clean, adversarial, purified, and both differences on mid grey.

    Both differences share one amplification factor, the one that makes the perturbation fill half the range.
    Predictions are coloured and marked by right or wrong.

    Args:
        samples: the images with their classes; the first eight are drawn.
        narrow: whether the figure is for a phone, with the first three.
    """
    clean, adversarial, purified = (
        np.asarray(images[: _FEW if narrow else _COLUMNS], np.float32)
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
    width = NARROW if narrow else WIDE
    figure = new_figure(width, 0.5 + (width - 1.6) / max(columns, 3 if narrow else 5) * 6)
    grid = figure.subplots(len(rows), columns, squeeze=False)
    for line, (title, images, prediction) in zip(grid, rows, strict=True):
        line[0].set_ylabel(title, rotation=0, ha="right", va="center", fontsize=TEXT, color=INK, labelpad=8)
        for axes, image, index in zip(line, images, range(columns), strict=True):
            picture = np.nan_to_num(np.moveaxis(image, 0, -1), nan=0.5).clip(0, 1)
            axes.imshow(
                picture.squeeze(-1) if picture.shape[-1] == 1 else picture,
                cmap="gray",
                vmin=0,
                vmax=1,
                interpolation="none",
            )
            axes.set_xticks([])
            axes.set_yticks([])
            for spine in axes.spines.values():
                spine.set(color=EDGE, linewidth=0.8)
            if prediction is not None:
                text, color = _verdict(samples, prediction, index)
                axes.set_xlabel(text, fontsize=TEXT, color=color, labelpad=3, parse_math=False)
    return figure


def amplification(perturbation: np.ndarray) -> int:
    """The whole factor at which the perturbation spans half the range; 1 if there is none."""
    largest = float(np.abs(perturbation).max(initial=0.0))
    return max(1, math.floor(0.505 / largest)) if largest > 1e-6 else 1


def _verdict(samples: Samples, prediction: np.ndarray, index: int) -> tuple[str, str]:
    value, names = int(prediction[index]), samples.class_names
    name = names[value] if 0 <= value < len(names) else str(value)
    name = name if len(name) <= 9 else name[:8] + "…"
    if prediction is samples.labels:
        return name, INK
    return (f"✓ {name}", RIGHT) if value == int(samples.labels[index]) else (f"✗ {name}", WRONG)
