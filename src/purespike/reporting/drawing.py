"""What all figures share: colours, a clean set of axes, labels that do not overlap, PNG bytes."""

import io
import warnings
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

INK, FAINT, GRID = "#22262b", "#6b7280", "#e4e6ea"
RIGHT, WRONG = "#00695c", "#b3261e"

SERIES = ("#0077bb", "#b5174b", "#e08a00", "#009988", "#7b4fb5", "#7a828c")


def new_figure(width: float, height: float) -> Figure:
    """A white figure of ``width`` by ``height`` inches with constrained layout."""
    return Figure(figsize=(width, height), layout="constrained", facecolor="white")


def dress(axes: Axes, *, title: str = "", x: str = "", y: str = "", grid: str = "y") -> None:
    """Give ``axes`` a left-aligned title, quiet labels, light grid lines along one axis and no box."""
    axes.set_title(title, loc="left", fontsize=11, color=INK, fontweight="bold", pad=10, parse_math=False)
    axes.set_xlabel(x, fontsize=9.5, color=FAINT)
    axes.set_ylabel(y, fontsize=9.5, color=FAINT)
    axes.tick_params(which="both", colors=FAINT, labelsize=9, length=0)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color("#b9bec5")
    axes.set_axisbelow(True)
    axes.grid(axis=grid, color=GRID, linewidth=0.8)  # type: ignore[arg-type]


def spread(values: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Move label positions apart to at least ``gap`` inside ``[low, high]``, keeping their order."""
    order = sorted(range(len(values)), key=values.__getitem__)
    placed = [values[index] for index in order]
    for _ in range(50):
        for index in range(1, len(placed)):
            lack = gap - (placed[index] - placed[index - 1])
            if lack > 0:
                placed[index - 1] -= lack / 2
                placed[index] += lack / 2
        placed = [min(max(value, low), high) for value in placed]
    result = [0.0] * len(values)
    for index, value in zip(order, placed, strict=True):
        result[index] = value
    return result


def png(figure: Figure, dpi: int = 150) -> bytes:
    """The figure as PNG, the same bytes for the same figure."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        # a name in letters that the font lacks is drawn as boxes, without a line for each
        warnings.filterwarnings("ignore", message="Glyph")
        figure.savefig(buffer, format="png", dpi=dpi, metadata={"Software": None})
    return buffer.getvalue()
