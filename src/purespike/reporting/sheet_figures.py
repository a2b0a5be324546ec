"""A reproduction's table as a picture: dots, curves or bars, the printed figures in grey beside ours."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from purespike.reporting.drawing import FAINT, INK, SERIES, dress, new_figure
from purespike.reporting.sheet_tables import HEADS
from purespike.results.vocabulary import threat_words

Sheet = Mapping[str, Any]
Row = Mapping[str, Any]
PRINTED = "#9aa1aa"
# the threat model whose colour and marker an attacker wears, where it is no threat model itself
WORN = {"alone": "oblivious", "": "undefended"}


def sheet_figure(sheet: Sheet) -> Figure:
    """The figure of the kind that the sheet names."""
    draw = {"dots": _dots, "curves": _curves, "bars": _bars}[sheet["kind"]]
    figure = draw(sheet)
    figure.suptitle(sheet["title"], x=0.01, ha="left", fontsize=11, color=INK, fontweight="bold", wrap=True)
    return figure


def _dots(sheet: Sheet) -> Figure:
    """A panel per attack and group: methods down, accuracy across, what the paper prints hollow."""
    groups = {name: _methods(rows) for name, rows in _groups(sheet).items()}
    titles = list(dict.fromkeys(column["title"] for column in sheet["columns"]))
    heights = [len(methods) + 0.8 for methods in groups.values()]
    figure = new_figure(2.6 + 1.3 * len(titles), 1.1 + 0.3 * sum(heights))
    panels = figure.subplots(
        len(groups), len(titles), squeeze=False, sharex=True, gridspec_kw={"height_ratios": heights}
    )
    drawn: dict[str, Any] = {}
    for number, (line, (name, methods)) in enumerate(zip(panels, groups.items(), strict=True)):
        for axes, title in zip(line, titles, strict=True):
            dress(axes, x="%" if number == len(groups) - 1 else "", grid="both")
            columns = [column for column in sheet["columns"] if column["title"] == title]
            for place, rows in enumerate(methods.values()):
                for row in rows:
                    _marks(axes, place, row, columns, drawn)
            axes.set_yticks(range(len(methods)), methods if title == titles[0] else [], color=INK)
            axes.set_ylim(len(methods) - 0.5, -0.5)
            axes.set(xlim=(-6, 106), xticks=(0, 50, 100))
            if number == 0:
                axes.set_title(title, fontsize=9.5, color=INK, pad=16, parse_math=False)
        _group_name(line[0], name)
        _say_missing(line[0], methods)
    figure.legend(
        drawn.values(), drawn.keys(), loc="outside lower left", ncols=4, frameon=False, fontsize=8.5
    )
    return figure


def _methods(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """The rows of each line: what the paper prints of a method of ours stands on the line of ours."""
    lines: dict[str, list[Row]] = {}
    for row in rows:
        lines.setdefault(row["method"].removesuffix(", paper"), []).append(row)
    return lines


def _marks(axes: Axes, place: int, row: Row, columns: Sequence[Any], drawn: dict[str, Any]) -> None:
    """The marks of a row in the panel of one attack; ``drawn`` collects one of each for the legend."""
    printed = row["origin"] in ("paper", "quoted")
    for column in columns:
        cell = row["cells"].get(column["key"])
        if cell is None:
            continue
        threat = WORN.get(column["attacker"], column["attacker"])
        label, color = HEADS[column["attacker"]] or "clean or noise", threat_words(threat).color
        if cell["low"] is not None:
            axes.plot((100 * cell["low"], 100 * cell["high"]), (place, place), color=color, alpha=0.3, lw=3)
        shown = axes.plot(
            100 * cell["mean"],
            place,
            linestyle="none",
            marker=threat_words(threat).marker,
            markersize=5.5,
            color=color,
            markerfacecolor="white" if printed else color,
            clip_on=False,
        )[0]
        drawn.setdefault(f"{label}, printed" if printed else label, shown)


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


def _curves(sheet: Sheet) -> Figure:
    """Per group two panels, by steps and by size; dashed is adaptive."""
    groups = {
        name: rows
        for name, rows in _groups(sheet).items()
        if any(row["origin"] == "measured" for row in rows)
    }
    figure = new_figure(9.5, 1.2 + 3.1 * max(1, len(groups)))
    if not groups:
        return figure
    panels = figure.subplots(len(groups), 2, squeeze=False)
    cells = [cell for rows in groups.values() for row in rows for cell in row["cells"].values()]
    top = min(102, 100 * max(cell["mean"] for cell in cells) + 10)
    drawn: dict[str, Any] = {}
    for line, (name, rows) in zip(panels, groups.items(), strict=True):
        for axes, word in zip(line, ("steps", "eps"), strict=True):
            columns = [column for column in sheet["columns"] if word in column["title"].split()]
            places = [int(re.findall(r"\d+", column["title"])[0]) for column in columns]
            label = "PGD steps" if word == "steps" else "eps in 1/255"
            dress(axes, title=f"{name}, by {word}", x=label, y="accuracy in %")
            axes.set_ylim(-2, top)
            methods = list(dict.fromkeys(row["method"].split(",")[0] for row in rows))
            for row in rows:
                known = [
                    (place, 100 * row["cells"][column["key"]]["mean"])
                    for place, column in zip(places, columns, strict=True)
                    if column["key"] in row["cells"]
                ]
                if not known:
                    continue
                printed = row["origin"] != "measured"
                adaptive = "adaptive" in row["method"]
                color = (
                    PRINTED if printed else SERIES[methods.index(row["method"].split(",")[0]) % len(SERIES)]
                )
                style = "none" if printed else "--" if adaptive else "-"
                x, y = zip(*known, strict=True)
                marker = "x" if printed else "D" if adaptive else "s"
                shown = axes.plot(x, y, color=color, linestyle=style, marker=marker, markersize=4)[0]
                drawn.setdefault(row["method"], shown)
    figure.legend(
        drawn.values(), drawn.keys(), loc="outside lower left", ncols=3, frameon=False, fontsize=8.5
    )
    return figure


def _bars(sheet: Sheet) -> Figure:
    """The last column as bars, a group after the other."""
    column = sheet["columns"][-1]
    rows = [row for row in sheet["rows"] if column["key"] in row["cells"]]
    figure = new_figure(9.0, 1.3 + 0.4 * len(rows))
    axes = figure.subplots()
    dress(axes, x=f"time {column['title']} ({column['unit']})", grid="x")
    for place, row in enumerate(rows):
        value = row["cells"][column["key"]]["mean"]
        color = SERIES[0] if row["origin"] == "measured" else PRINTED
        axes.barh(place, value, color=color, height=0.62)
        axes.text(value, place, f" {value:.3g}", va="center", fontsize=9, color=INK)
    names = [f"{row['group']}: {row['method']}" for row in rows]
    axes.set_yticks(range(len(rows)), names, color=INK, parse_math=False)
    axes.invert_yaxis()
    return figure


def _groups(sheet: Sheet) -> dict[str, list[Row]]:
    groups: dict[str, list[Row]] = {}
    for row in sheet["rows"]:
        groups.setdefault(row["group"], []).append(row)
    return groups


def _say_missing(axes: Axes, methods: Mapping[str, Sequence[Row]]) -> None:
    for place, rows in enumerate(methods.values()):
        if any(row["origin"] == "missing" for row in rows):
            axes.text(2, place, "not measured", va="center", fontsize=7, color=FAINT)
