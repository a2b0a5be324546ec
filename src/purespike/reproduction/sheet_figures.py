"""The figure of a sheet: dots, curves or bars, printed numbers set apart from ours."""

from matplotlib.figure import Figure

from purespike.reporting.drawing import INK, SERIES, dress, new_figure
from purespike.reproduction.curves_figure import PRINTED, curves
from purespike.reproduction.dots_figure import dots
from purespike.reproduction.gap_figure import gap
from purespike.reproduction.sheet import Sheet


def sheet_figure(sheet: Sheet) -> Figure:
    """The figure of the sheet's kind."""
    figure = {"dots": dots, "curves": curves, "bars": _bars, "gap": gap}[sheet.kind](sheet)
    figure.suptitle(sheet.title, x=0.01, ha="left", fontsize=11, color=INK, fontweight="bold", wrap=True)
    return figure


def _bars(sheet: Sheet) -> Figure:
    """The last column as bars, a group after the other."""
    column = sheet.columns[-1]
    rows = [row for row in sheet.rows if column in row.cells]
    figure = new_figure(9.0, 1.3 + 0.4 * len(rows))
    axes = figure.subplots()
    dress(axes, x=f"time {column.title} ({column.unit})", grid="x")
    for place, row in enumerate(rows):
        value = row.cells[column].mean
        axes.barh(place, value, color=PRINTED if row.printed else SERIES[0], height=0.62)
        axes.text(value, place, f" {value:.3g}", va="center", fontsize=9, color=INK)
    names = [f"{row.group}: {row.method}" for row in rows]
    axes.set_yticks(range(len(rows)), names, color=INK, parse_math=False)
    axes.invert_yaxis()
    return figure
