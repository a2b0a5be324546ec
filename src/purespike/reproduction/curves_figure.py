"""Curves over the steps and the budget of an attack."""

import re
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from purespike.reporting.drawing import SERIES, dress, new_figure
from purespike.reproduction.sheet import Column, Sheet, SheetRow

PRINTED = "#9aa1aa"
"""Colour of printed numbers."""


def curves(sheet: Sheet) -> Figure:
    """Per group two panels, by steps and by size; dashed is adaptive."""
    groups = {
        name: rows for name, rows in sheet.groups.items() if any(row.origin == "measured" for row in rows)
    }
    figure = new_figure(9.5, 1.2 + 3.1 * max(1, len(groups)))
    if not groups:
        return figure
    panels = figure.subplots(len(groups), 2, squeeze=False)
    means = [cell.mean for rows in groups.values() for row in rows for cell in row.cells.values()]
    top = min(102, 100 * max(means) + 10)
    drawn: dict[str, Any] = {}
    for line, (name, rows) in zip(panels, groups.items(), strict=True):
        methods = list(dict.fromkeys(_method(row) for row in rows))
        for axes, word, label in zip(line, ("steps", "eps"), ("PGD steps", "eps in 1/255"), strict=True):
            columns = [column for column in sheet.columns if word in column.title.split()]
            dress(axes, title=f"{name}, by {word}", x=label, y="accuracy in %")
            axes.set_ylim(-2, top)
            for row in rows:
                color = PRINTED if row.printed else SERIES[methods.index(_method(row)) % len(SERIES)]
                _curve(axes, row, columns, color, drawn)
    figure.legend(
        drawn.values(), drawn.keys(), loc="outside lower left", ncols=3, frameon=False, fontsize=8.5
    )
    return figure


def _curve(axes: Axes, row: SheetRow, columns: list[Column], color: str, drawn: dict[str, Any]) -> None:
    """The curve of a row; ``drawn`` collects one of each for the legend."""
    known = [column for column in columns if column in row.cells]
    if not known:
        return
    adaptive = any(cell.threat == "adaptive" for cell in row.cells.values())
    drawn.setdefault(
        row.method,
        axes.plot(
            [int(re.findall(r"\d+", column.title)[0]) for column in known],
            [100 * row.cells[column].mean for column in known],
            color=color,
            linestyle="none" if row.printed else "--" if adaptive else "-",
            marker="x" if row.printed else "D" if adaptive else "s",
            markersize=4,
        )[0],
    )


def _method(row: SheetRow) -> str:
    """The method without its threat model or source."""
    return row.method.split(",")[0]
