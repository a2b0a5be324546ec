"""Pictures of measured robustness as matplotlib ``Figure``: a curve over budgets, bars over attacks."""

import textwrap

import numpy as np
from matplotlib.figure import Figure

from purespike.errors import Absent, InputError
from purespike.reporting.drawing import FAINT, INK, NARROW, TEXT, WIDE, dress, new_figure, spread
from purespike.reporting.robustness import robustness_table
from purespike.results import Evaluation
from purespike.results.vocabulary import NORMS, percent, threat_words


def accuracy_curve(evaluation: Evaluation, *, narrow: bool = False) -> Figure:
    """Worst case against eps, one line and one 95% band per threat model; eps 0 is the clean accuracy.

    Eps is in n/255 for L∞, a radius for L2 and a number for L0. A point is the worst case over all attacks up
    to that eps.

    Args:
        evaluation: the evaluation.
        narrow: whether the figure is for a phone; its labels are then shorter.

    Raises:
        Absent: no attack with a bound was run.
    """
    norm = evaluation.norm
    cells = [cell for cell in evaluation.cells if cell.norm == norm and cell.eps]
    if not cells:
        raise Absent(f"no attack with an {NORMS.get(norm, norm)} bound was run")
    attacks = {cell.title for cell in cells}
    title = attacks.pop() if len(attacks) == 1 else "Worst case over all attacks"
    title += f", {NORMS.get(norm, norm)}, on {evaluation.data.text}"
    scale, unit = (255, "/255") if norm == "linf" else (1, "")
    lines = _curve_lines(evaluation, scale)
    figure = new_figure(NARROW, 3.9) if narrow else new_figure(WIDE, 4.9)
    axes = figure.add_subplot()
    dress(
        axes,
        title=textwrap.fill(title, 36 if narrow else 90),
        x={"linf": "eps, in n/255", "l0": "eps, number of changed values"}.get(
            norm, "eps, radius in pixel units"
        ),
        y="Accuracy, %",
        text=TEXT,
    )
    for threat, points in lines.items():
        x, y, low, high = np.array(points).T
        words = evaluation.words(threat)
        axes.fill_between(x, low, high, color=words.color, alpha=0.14, linewidth=0)
        axes.plot(
            x,
            y,
            color=words.color,
            lw=2.2,
            linestyle="solid" if words.end_to_end else (0, (4, 2)),
            marker=words.marker,
            ms=6,
            clip_on=False,
            zorder=3,
        )
    right = max(point[0] for points in lines.values() for point in points)
    ends = [points[-1][1] for points in lines.values()]
    for (threat, points), height in zip(lines.items(), spread(ends, 11.5, 3, 97), strict=True):
        words = evaluation.words(threat)
        axes.plot(
            [points[-1][0], right * 1.045],
            [points[-1][1], height],
            color=words.color,
            linewidth=0.8,
            alpha=0.6,
        )
        label = f"{words.title}  {percent(points[-1][1] / 100)}"
        label += "" if narrow else f" at {points[-1][0]:g}{unit}"
        axes.annotate(
            label,
            (right * 1.055, height),
            fontsize=TEXT,
            fontweight="bold",
            color=words.color,
            va="center" if narrow else "bottom",
            xytext=(0, 0 if narrow else -1),
            textcoords="offset points",
            annotation_clip=False,
        )
        if narrow:
            continue
        axes.annotate(
            words.short,
            (right * 1.055, height),
            fontsize=TEXT,
            color=FAINT,
            va="top",
            xytext=(0, -5),
            textcoords="offset points",
            annotation_clip=False,
        )
    ticks = sorted({point[0] for points in lines.values() for point in points})
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.set_xlim(0, right * 1.045)
    axes.set_ylim(0, 101)
    axes.set_yticks(range(0, 101, 20))
    return figure


def robustness_bars(evaluation: Evaluation) -> Figure:
    """Grouped bars of accuracy per attack and threat model at the headline eps, with 95% intervals.

    Raises:
        InputError: no attack was run.
    """
    table = robustness_table(evaluation)
    rows = [row for row in table.rows if row.kind != "clean"]
    if not rows:
        raise InputError("no attack was run")
    threats = [threat for threat in table.threats if any(row.robust[threat] for row in rows)]
    figure = new_figure(10, 4.2)
    axes = figure.add_subplot()
    dress(axes, title=f"Accuracy under attack ({table.heading}) on {evaluation.data.text}", y="Accuracy, %")
    width = 0.82 / len(threats)
    for index, threat in enumerate(threats):
        shown = [(place, row.robust[threat]) for place, row in enumerate(rows) if row.robust[threat]]
        x = [place + (index - (len(threats) - 1) / 2) * width for place, _ in shown]
        scores = [entry.score for _, entry in shown if entry]
        y = np.array([100 * score.accuracy for score in scores])
        low = np.maximum(y - [100 * score.low for score in scores], 0)
        high = np.maximum([100 * score.high for score in scores] - y, 0)
        words = evaluation.words(threat)
        axes.bar(x, y, width * 0.92, color=words.color, label=f"{words.title} ({words.short})")
        axes.errorbar(x, y, yerr=[low, high], fmt="none", ecolor=INK, elinewidth=1, capsize=2)
        for place, height, top in zip(x, y, y + high, strict=True):
            axes.text(place, top + 1.5, percent(height / 100), ha="center", fontsize=7, color=INK)
    labels = [
        row.attack if row.condition == table.heading else f"{row.attack}\n{row.condition}" for row in rows
    ]
    axes.set_xticks(range(len(rows)), labels, color=INK, parse_math=False)
    axes.set_ylim(0, 108)
    axes.set_yticks(range(0, 101, 20))
    figure.legend(loc="outside lower center", ncols=min(len(threats), 2), frameon=False, fontsize=9)
    return figure


def _curve_lines(evaluation: Evaluation, scale: float) -> dict[str, list[tuple[float, ...]]]:
    lines: dict[str, list[tuple[float, ...]]] = {}
    for threat in evaluation.threats:
        sizes = {cell.eps for cell in evaluation.cells if cell.threat == threat and cell.eps}
        scores = {eps: score for eps in sizes if (score := evaluation.worst_score(eps, threat))}
        if not scores:
            continue
        purified = evaluation.clean.defended if threat_words(threat).end_to_end else None
        scores[0.0] = purified or evaluation.clean.undefended
        lines[threat] = [
            (round(scale * eps, 3), *(100 * share for share in (score.accuracy, score.low, score.high)))
            for eps, score in sorted(scores.items())
        ]
    return lines
