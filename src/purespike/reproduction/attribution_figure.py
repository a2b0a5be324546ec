"""The picture of Figure 1: clean, adversarial and purified images under their attribution maps."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from purespike.errors import InputError
from purespike.reporting.drawing import FAINT, INK, RIGHT, WRONG, new_figure

_COLORS = "inferno"
_OPACITY = 0.6
_STAGES = ("clean", "adversarial", "purified")


@dataclass(frozen=True, kw_only=True)
class ExplainedImage:
    """One image, its predicted class and its attribution map.

    Args:
        image: array ``[C, H, W]``, C 1 or 3; drawn clipped to [0, 1].
        attribution: map ``[H, W]`` in [0, 1], see :func:`purespike.explain.grad_cam`.
        prediction: name of the predicted class.
    """

    image: Any
    attribution: Any
    prediction: str


@dataclass(frozen=True, kw_only=True)
class Explained:
    """One image before the attack, after it, and purified.

    Args:
        label: name of the true class.
        clean: original image.
        adversarial: attacked image.
        purified: attacked and then purified image.
    """

    label: str
    clean: ExplainedImage
    adversarial: ExplainedImage
    purified: ExplainedImage


def grad_cam_figure(rows: Sequence[Explained]) -> Figure:
    """Attribution maps laid over their images, one row per image (paper, Figure 1).

    Three pairs of columns, clean, adversarial and purified: the image under its predicted class, coloured and
    marked by right or wrong, and the same image in grey under its map. One colour bar holds for all maps.

    Args:
        rows: images, at least one; arrays, or tensors on the CPU.

    Raises:
        InputError: no image, one that is not ``[1 or 3, H, W]``, or a map of another size or range.
    """
    if not rows:
        raise InputError("rows: need at least one image to draw")
    figure = new_figure(10, 0.7 + 1.75 * len(rows))
    # every second column is a gap, so that an image and its map are seen as a pair
    places = figure.add_gridspec(1, 6, width_ratios=(1, 0.04, 1, 0.04, 1, 0.16))
    *parts, legend = (figure.add_subfigure(places[0, column]) for column in range(6))
    for group, stage in zip(parts[::2], _STAGES, strict=True):
        group.suptitle(stage.capitalize(), fontsize=11, color=INK, fontweight="bold")
        grid = group.subplots(len(rows), 2, squeeze=False)
        for number, (line, row) in enumerate(zip(grid, rows, strict=True)):
            explained = getattr(row, stage)
            image, attribution = _arrays(explained, f"rows[{number}].{stage}")
            for axes in line:
                _frame(axes)
            _picture(line[0], image)
            right = explained.prediction == row.label
            name = _short(explained.prediction)
            _name(line[0], f"✓ {name}" if right else f"✗ {name}", RIGHT if right else WRONG)
            _picture(line[1], image.mean(0, keepdims=True))
            drawn = line[1].imshow(attribution, cmap=_COLORS, vmin=0, vmax=1, alpha=_OPACITY)
            _name(line[1], "Grad-CAM", FAINT)
    bar = figure.colorbar(drawn, cax=legend.add_axes((0.1, 0.2, 0.25, 0.6)), ticks=[0, 1])
    bar.ax.tick_params(colors=FAINT, labelsize=9, length=0)
    bar.outline.set_visible(False)
    return figure


def _arrays(explained: ExplainedImage, where: str) -> tuple[np.ndarray, np.ndarray]:
    image = np.asarray(explained.image, np.float32)
    attribution = np.asarray(explained.attribution, np.float32)
    if image.ndim != 3 or image.shape[0] not in (1, 3):
        raise InputError(f"{where}.image: expected [1 or 3, H, W], got {list(image.shape)}")
    if attribution.shape != image.shape[1:]:
        raise InputError(
            f"{where}.attribution: expected a map {list(image.shape[1:])}, got {list(attribution.shape)}"
        )
    if not (np.all(attribution >= 0) and np.all(attribution <= 1)):
        raise InputError(f"{where}.attribution: values must lie in [0, 1]")
    return np.nan_to_num(image, nan=0.5).clip(0, 1), attribution


def _picture(axes: Axes, image: np.ndarray) -> None:
    picture = np.moveaxis(image, 0, -1)
    axes.imshow(picture.squeeze(-1) if picture.shape[-1] == 1 else picture, cmap="gray", vmin=0, vmax=1)


def _frame(axes: Axes) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set(color="#c9cdd3", linewidth=0.8)


def _name(axes: Axes, text: str, color: str) -> None:
    axes.set_title(text, fontsize=8.5, color=color, pad=4, parse_math=False)


def _short(name: str) -> str:
    return name if len(name) <= 16 else name[:15] + "…"
