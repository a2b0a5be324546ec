"""Robustness as a model's own surrogate shows it, against the worst of all attacks."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from purespike.errors import InputError
from purespike.reporting.drawing import EDGE, INK, SERIES, dress, new_figure
from purespike.reproduction.sheet import Column, Sheet, SheetRow

OWN, WORST = ", own surrogate", "Worst of all"
PLAIN, OBJECTED = SERIES[0], SERIES[1]


def gap(sheet: Sheet) -> Figure:
    """A bar per measured row from the worst of all to its own surrogate's number; and one against the other.

    The length of a bar, and the distance of a point below the diagonal, is what the surrogate's gradient hid.
    """
    own, worst = _columns(sheet)
    rows = [row for row in sheet.rows if own in row.cells and worst in row.cells and not row.printed]
    figure = new_figure(10.5, max(4.2, 1.8 + 0.25 * len(rows)))
    bars, plane = figure.subplots(1, 2, width_ratios=(1.5, 1))
    dress(bars, x="robust, %", grid="x")
    _bars(bars, rows, own, worst)
    dress(plane, x=f"{own.title}, %", y=f"{worst.title}, %", grid="both")
    points = [(100 * row.cells[own].mean, 100 * row.cells[worst].mean) for row in rows]
    top = max([5.0, *(value for point in points for value in point)]) * 1.05
    plane.plot((0, top), (0, top), color=EDGE, linewidth=1.2, zorder=1)
    plane.scatter(
        *zip(*points, strict=True) if points else ((), ()), c=[_color(row) for row in rows], s=26, zorder=3
    )
    plane.set(xlim=(-0.02 * top, top), ylim=(-0.02 * top, top), aspect="equal", anchor="N")
    handles = [
        bars.plot([], [], "D", color=INK, markersize=4.5)[0],
        bars.plot([], [], "o", color=INK, markerfacecolor="white", markersize=5.5)[0],
        bars.plot([], [], "s", color=OBJECTED, markersize=6)[0],
    ]
    words = [worst.title, own.title, "the row's own numbers object to each other"]
    figure.legend(handles, words, loc="outside lower left", ncols=3, frameon=False, fontsize=8.5)
    return figure


def _bars(axes: Axes, rows: Sequence[SheetRow], own: Column, worst: Column) -> None:
    for place, row in enumerate(rows):
        low, high, color = 100 * row.cells[worst].mean, 100 * row.cells[own].mean, _color(row)
        axes.plot((low, high), (place, place), color=color, linewidth=2.4, alpha=0.45, zorder=1)
        axes.plot(high, place, "o", color=color, markerfacecolor="white", markersize=5.5, clip_on=False)
        axes.plot(low, place, "D", color=color, markersize=4.5, clip_on=False)
    axes.set_yticks(range(len(rows)), [row.method for row in rows], color=INK, parse_math=False)
    axes.set_ylim(max(len(rows), 1) - 0.5, -0.5)
    axes.set_xlim(left=0)


def _color(row: SheetRow) -> str:
    return OBJECTED if "object" in row.remark else PLAIN


def _columns(sheet: Sheet) -> tuple[Column, Column]:
    own = [column for column in sheet.columns if column.title.endswith(OWN)]
    worst = [column for column in sheet.columns if column.title == WORST]
    if not own or not worst:
        raise InputError(f"{sheet.experiment}: the figure needs a column '…{OWN}' and one {WORST!r}")
    return own[-1], worst[0]
