"""Example images, clean, attacked and purified, as a matplotlib ``Figure``."""

import math

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from purespike.reporting.drawing import EDGE, INK, NARROW, RIGHT, TEXT, WIDE, WRONG
from purespike.results import Samples

_COLUMNS, _FEW = 8, 3
EVENT_OFF, EVENT_ON = (0.12, 0.36, 0.75), (0.80, 0.15, 0.15)
"""Colours of events."""
# width of the names of the rows, in inches
_LABELS = 1.55


def sample_grid(samples: Samples, *, narrow: bool = False) -> Figure:
    """Example images by column: clean, attacked and purified, and their differences on mid grey.

    Those of the attacker who knows the purifier follow those of one who does not, where there are any. The
    differences share one amplification factor, the one that makes the perturbation fill half the range.
    Predictions are coloured and marked by right or wrong. Frames of events are drawn as one picture.

    Args:
        samples: the images with their classes; the first eight are drawn.
        narrow: whether the figure is for a phone, with the first three.
    """

    def pictures(images: np.ndarray) -> np.ndarray:
        return as_pictures(np.asarray(images[: _FEW if narrow else _COLUMNS], np.float32))

    clean = pictures(samples.clean)
    attacked, purified = pictures(samples.adversarial), pictures(samples.purified)
    rows: list[tuple[str, np.ndarray, np.ndarray | None]] = [
        ("Clean", clean, samples.labels),
        ("Classifier\nattacked", attacked, samples.undefended_prediction),
        ("Purified", purified, samples.defended_prediction),
    ]
    if samples.adaptive is not None and samples.adaptive_purified is not None:
        attacked, purified = pictures(samples.adaptive), pictures(samples.adaptive_purified)
        rows += [
            ("Both attacked\ntogether", attacked, None),
            ("Purified", purified, samples.adaptive_prediction),
        ]
    factor = amplification(attacked - clean)
    rows += [
        (f"Perturbation\n×{factor}, grey = 0", 0.5 + factor * (attacked - clean), None),
        (f"Purified − clean\n×{factor}, grey = 0", 0.5 + factor * (purified - clean), None),
    ]
    columns = len(clean)
    side, gap, line = _sizes(narrow=narrow, columns=columns)
    lines = sum(prediction is not None for _, _, prediction in rows)
    left, height = _LABELS, len(rows) * (side + gap) + lines * line
    width = NARROW if narrow else WIDE
    figure = Figure(figsize=(width, height), facecolor="white")
    # one set of axes in inches for all pictures: dozens of them take many times as long to lay out and draw
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(height, 0))
    axes.set_axis_off()
    top = gap / 2
    for title, images, prediction in rows:
        axes.text(left - 0.12, top + side / 2, title, ha="right", va="center", fontsize=TEXT, color=INK)
        for column, image in enumerate(images):
            start = left + column * (side + gap)
            picture = np.nan_to_num(np.moveaxis(image, 0, -1), nan=0.5).clip(0, 1)
            axes.imshow(
                picture.squeeze(-1) if picture.shape[-1] == 1 else picture,
                cmap="gray",
                vmin=0,
                vmax=1,
                interpolation="none",
                extent=(start, start + side, top + side, top),
            )
            axes.add_patch(Rectangle((start, top), side, side, fill=False, edgecolor=EDGE, linewidth=0.8))
            if prediction is not None:
                text, color = _verdict(samples, prediction, column)
                axes.text(
                    start + side / 2,
                    top + side + 0.05,
                    text,
                    ha="center",
                    va="top",
                    fontsize=TEXT,
                    color=color,
                    parse_math=False,
                )
        top += side + gap + (0 if prediction is None else line)
    axes.set(xlim=(0, width), ylim=(height, 0), aspect="equal")
    return figure


def as_pictures(images: np.ndarray) -> np.ndarray:
    """Images that can be drawn: frames of events ``[N, 2T, H, W]`` as colours; others unchanged.

    On white, ON events are red and OFF events blue; the more of them over time, the more colour, as the root
    of their share.
    """
    if images.shape[1] in (1, 3):
        return images
    off, on = (np.sqrt(images[:, p::2].clip(0, 1).mean(1))[:, None, None] for p in (0, 1))
    paint = np.array([EVENT_OFF, EVENT_ON], np.float32)[:, None, :, None, None]
    white = 1 - off * (1 - paint[0]) - on * (1 - paint[1])
    return np.asarray(white[:, 0].clip(0, 1), np.float32)


def _sizes(*, narrow: bool, columns: int) -> tuple[float, float, float]:
    """Side of a picture, gap between two, and height of a line below some, in inches."""
    gap = 0.12
    room = (NARROW if narrow else WIDE) - _LABELS - 0.1
    return room / max(columns, 3 if narrow else 5) - gap, gap, 0.22


def amplification(perturbation: np.ndarray) -> int:
    """The whole factor at which the perturbation spans half the range; 1 if there is none."""
    largest = float(np.abs(perturbation).max(initial=0.0))
    return max(1, math.floor(0.505 / largest)) if largest > 1e-6 else 1


def _verdict(samples: Samples, prediction: np.ndarray, index: int) -> tuple[str, str]:
    value, names = int(prediction[index]), samples.class_names
    # in one line, whatever the name holds
    name = " ".join(names[value].split()) if 0 <= value < len(names) else str(value)
    name = name if len(name) <= 9 else name[:8] + "…"
    if prediction is samples.labels:
        return name, INK
    return (f"✓ {name}", RIGHT) if value == int(samples.labels[index]) else (f"✗ {name}", WRONG)
