"""The matrix of substitutes and targets as a picture."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from purespike.errors import InputError
from purespike.reporting.drawing import FAINT, GRID, INK, dress, new_figure
from purespike.results import Score, TransferMatrix
from purespike.results.vocabulary import percent, threat_words

# the deeper the colour, the more an attack achieved
_SHADES = LinearSegmentedColormap.from_list("broken", [threat_words("adaptive").color, "#f6dfe7", "#ffffff"])
_LINE, _LONGEST = 0.5, 22


def transfer_heatmap(matrix: TransferMatrix) -> Figure:
    """Accuracy of every target (column) on the images made on every substitute (row), a panel per attack.

    The first row of a panel is clean accuracy. An outlined entry is white-box: one model in both roles.

    Raises:
        InputError: the matrix is empty.
    """
    panels = matrix.groups()
    if not panels or not panels[0]:
        raise InputError("transfer matrix: holds no entries")
    substitutes, targets = list(matrix.substitutes), list(matrix.targets)
    rows = len(substitutes) + 1
    width = min(10.0, max(6.6, 3.2 + 1.35 * len(targets)))
    figure = new_figure(width, 0.5 + len(panels) * (1.2 + _LINE * rows))
    figure.suptitle(
        f"Accuracy in % on {matrix.data.text}, made on a substitute, sent to a target; outlined: white-box",
        fontsize=9,
        color=FAINT,
        x=0.01,
        ha="left",
        wrap=True,
    )
    for axes, cells in zip(figure.subplots(len(panels), 1, squeeze=False)[:, 0], panels, strict=True):
        clean = [matrix.clean.targets[name] for name in targets]
        scores = [clean] + [[cell.score for cell in cells if cell.substitute == name] for name in substitutes]
        dress(axes, title=cells[0].heading, x="Target", y="Made on", grid="both")
        axes.grid(False)
        axes.spines["bottom"].set_visible(False)
        values = np.array([[100 * score.accuracy for score in line] for line in scores])
        axes.imshow(values, cmap=_SHADES, vmin=0, vmax=100, aspect="auto")
        for place, line in enumerate(scores):
            for column, score in enumerate(line):
                _write(axes, column, place, score)
        for number, cell in enumerate(cells):
            if cell.white_box:
                place, column = divmod(number, len(targets))
                corner = (column - 0.46, place + 1 - 0.44)
                axes.add_patch(Rectangle(corner, 0.92, 0.88, fill=False, edgecolor=INK, linewidth=1.6))
        for place in range(1, rows):
            axes.axhline(place - 0.5, color=INK if place == 1 else GRID, linewidth=1)
        axes.set_xticks(range(len(targets)), [_short(name) for name in targets], color=INK, parse_math=False)
        names = ["clean", *(_short(name) for name in substitutes)]
        axes.set_yticks(range(rows), names, color=INK, parse_math=False)
    return figure


def _write(axes: Axes, column: int, row: int, score: Score) -> None:
    color = "white" if score.accuracy < 0.3 else INK
    axes.text(column, row - 0.13, score.text, ha="center", va="center", fontsize=10, color=color)
    spread = f"{percent(score.low)}–{percent(score.high)}"
    axes.text(column, row + 0.24, spread, ha="center", va="center", fontsize=6.5, color=color)


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST else name[: _LONGEST - 1] + "…"
