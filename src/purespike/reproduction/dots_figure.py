"""Dots: a panel per attack and group, methods down, accuracy across."""

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from purespike.reporting.drawing import FAINT, INK, dress, new_figure
from purespike.reproduction.attackers import ATTACKERS
from purespike.reproduction.sheet import Column, Sheet, SheetRow
from purespike.results.vocabulary import threat_words

# inches: of one letter of a name, of the column of names at least, of all panels together at least
LETTER, NAMES, PANELS = 0.065, 2.6, 4.6


def dots(sheet: Sheet) -> Figure:
    """One line per method; numbers that the paper prints are hollow, those that are no shares left out."""
    shares = [column for column in sheet.columns if column.unit == "%"]
    groups = {name: _methods(rows) for name, rows in sheet.groups.items()}
    titles = list(dict.fromkeys(column.title for column in shares))
    heights = [len(methods) + 0.8 for methods in groups.values()]
    longest = max(len(name) for methods in groups.values() for name in methods)
    width = max(NAMES, 0.6 + LETTER * longest) + max(PANELS, 1.3 * len(titles))
    figure = new_figure(width, 1.1 + 0.3 * sum(heights))
    panels = figure.subplots(
        len(groups), len(titles), squeeze=False, sharex=True, gridspec_kw={"height_ratios": heights}
    )
    drawn: dict[str, Any] = {}
    for number, (line, (name, methods)) in enumerate(zip(panels, groups.items(), strict=True)):
        for axes, title in zip(line, titles, strict=True):
            dress(axes, x="%" if number == len(groups) - 1 else "", grid="both")
            columns = [column for column in shares if column.title == title]
            for place, rows in enumerate(methods.values()):
                for row in rows:
                    _marks(axes, place, row, columns, drawn)
            axes.set_yticks(range(len(methods)), methods if title == titles[0] else [], color=INK)
            axes.set_ylim(len(methods) - 0.5, -0.5)
            axes.set(xlim=(-6, 106), xticks=(0, 50, 100))
            if number == 0:
                axes.set_title(title, fontsize=9.5, color=INK, pad=16, parse_math=False)
        _group_name(line[0], name)
        for place, rows in enumerate(methods.values()):
            if any(row.origin == "missing" for row in rows):
                line[0].text(2, place, "not measured", va="center", fontsize=7, color=FAINT)
    figure.legend(
        drawn.values(), drawn.keys(), loc="outside lower left", ncols=4, frameon=False, fontsize=8.5
    )
    return figure


def _methods(rows: Sequence[SheetRow]) -> dict[str, list[SheetRow]]:
    """The rows of each line: printed numbers of a method of ours are on our line."""
    lines: dict[str, list[SheetRow]] = {}
    for row in rows:
        lines.setdefault(row.method.removesuffix(", paper"), []).append(row)
    return lines


def _marks(axes: Axes, place: int, row: SheetRow, columns: Sequence[Column], drawn: dict[str, Any]) -> None:
    """The marks of a row in the panel of one attack; ``drawn`` collects one of each for the legend."""
    for column in columns:
        cell = row.cells.get(column)
        if cell is None:
            continue
        attacker = ATTACKERS[column.attacker]
        style = threat_words(attacker.style)
        if cell.low is not None and cell.high is not None:
            axes.plot((100 * cell.low, 100 * cell.high), (place, place), color=style.color, alpha=0.3, lw=3)
        shown = axes.plot(
            100 * cell.mean,
            place,
            linestyle="none",
            marker=style.marker,
            markersize=5.5,
            color=style.color,
            markerfacecolor="white" if row.printed else style.color,
            clip_on=False,
        )[0]
        drawn.setdefault(f"{attacker.label}, printed" if row.printed else attacker.label, shown)


def _group_name(axes: Axes, name: str) -> None:
    axes.annotate(
        name,
        (0, 1),
        (-8, 6),
        xycoords="axes fraction",
        textcoords="offset points",
        ha="right",
        fontsize=9.5,
        fontweight="bold",
        color=INK,
        parse_math=False,
    )
