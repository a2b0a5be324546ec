"""A reproduction's table as a picture: dots, curves or bars, the printed figures in grey beside ours."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from purespike.reporting.drawing import FAINT, INK, SERIES, THREAT_COLORS, dress, new_figure

Sheet = Mapping[str, Any]
Row = Mapping[str, Any]
PRINTED = "#9aa1aa"
# by who attacks
STYLES = {
    "alone": ("classifier alone", THREAT_COLORS["oblivious"], "s"),
    "transfer": ("transfer", THREAT_COLORS["transfer"], "v"),
    "bpda": ("bpda", THREAT_COLORS["bpda"], "^"),
    "adaptive": ("adaptive", THREAT_COLORS["adaptive"], "D"),
    "": ("clean or noise", THREAT_COLORS["undefended"], "o"),
}


def sheet_figure(sheet: Sheet) -> Figure:
    """The figure of the kind that the sheet names."""
    draw = {"dots": _dots, "curves": _curves, "bars": _bars}[sheet["kind"]]
    figure = draw(sheet)
    figure.suptitle(sheet["title"], x=0.01, ha="left", fontsize=11, color=INK, fontweight="bold", wrap=True)
    return figure


def _dots(sheet: Sheet) -> Figure:
    """A panel per group: methods down, accuracy across, a mark per attack in the colour of its attacker."""
    groups = _groups(sheet)
    heights = [len(rows) for rows in groups.values()]
    figure = new_figure(9.5, 1.5 + 0.38 * sum(heights) + 0.75 * len(groups))
    panels = figure.subplots(
        len(groups), 1, squeeze=False, sharex=True, gridspec_kw={"height_ratios": heights}
    )[:, 0]
    drawn: dict[str, Any] = {}
    for axes, (name, rows) in zip(panels, groups.items(), strict=True):
        dress(axes, title=name, x="accuracy in %" if axes is panels[-1] else "", grid="both")
        for place, row in enumerate(rows):
            printed = row["origin"] in ("paper", "quoted")
            for column in sheet["columns"]:
                cell = row["cells"].get(column["key"])
                if cell is None:
                    continue
                label, color, marker = STYLES[column["attacker"]]
                # one row's attackers stand above each other, so that equal numbers are all seen
                lift = {"alone": 0.14, "adaptive": -0.14}.get(column["attacker"], 0.0)
                shown = axes.plot(
                    100 * cell["mean"],
                    place - lift,
                    linestyle="none",
                    marker=marker,
                    markersize=5.5,
                    color=color,
                    markerfacecolor="white" if printed else color,
                    alpha=0.9,
                )[0]
                drawn.setdefault(f"{label}, printed" if printed else label, shown)
        axes.set_yticks(range(len(rows)), [row["method"] for row in rows], color=INK, parse_math=False)
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.set_xlim(-2, 102)
        _say_missing(axes, rows)
    figure.legend(
        drawn.values(), drawn.keys(), loc="outside lower left", ncols=4, frameon=False, fontsize=8.5
    )
    return figure


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
    drawn: dict[str, Any] = {}
    for line, (name, rows) in zip(panels, groups.items(), strict=True):
        for axes, word in zip(line, ("steps", "eps"), strict=True):
            columns = [column for column in sheet["columns"] if word in column["title"]]
            places = [int(re.findall(r"\d+", column["title"])[0]) for column in columns]
            label = "PGD steps" if word == "steps" else "eps in 1/255"
            dress(axes, title=f"{name}, by {word}", x=label, y="accuracy in %")
            axes.set_ylim(-2, 102)
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


def _say_missing(axes: Axes, rows: Sequence[Row]) -> None:
    for place, row in enumerate(rows):
        if row["origin"] == "missing":
            axes.text(1, place, "not measured", va="center", fontsize=8.5, color=FAINT)
