"""Models side by side on the same images: a small table, and bars."""

import textwrap

from matplotlib.figure import Figure

from purespike.reporting.drawing import EDGE, INK, NARROW, TEXT, WIDE, dress, new_figure
from purespike.reporting.grid import Cell, Grid, Group, Head, Row
from purespike.results import Comparison, Score
from purespike.results.vocabulary import MISSING, threat_words

# height of a bar, where that of a model with its space is 1
_BAR = 0.26
# letters of a name; the table has all of them
LONGEST = 40


def comparison_title(comparison: Comparison) -> str:
    """The sentence above the table: images, budget and threat models."""
    threats = [f"{words.inline} ({words.short})" for words in map(threat_words, comparison.threats)]
    models = f" Threat model{'s' if len(threats) > 1 else ''}: {', '.join(threats)}." if threats else ""
    return (
        f"Accuracy in % [95% Wilson interval] on the same {comparison.data.text}, clean and in the worst "
        f"case over all attacks at {comparison.condition}.{models}"
    )


def comparison_grid(comparison: Comparison) -> Grid:
    """A row per model: clean, oblivious, adaptive worst case, and the verdict."""
    heads = ["Model", "Clean", "Oblivious", "Adaptive, worst case", "Verdict"]
    rows = []
    for each in comparison.models:
        threat = () if each.threat == "adaptive" else (threat_words(each.threat).inline,)
        cells = [_entry(each.clean), _entry(each.oblivious), _entry(each.worst, *threat, style="bold")]
        about = ("this report",) if each.own else ()
        rows.append(Row(each.name, [*cells, Cell(each.level or MISSING)], about))
    return Grid(
        comparison_title(comparison), [*map(Head, heads)], [Group("", rows)], comparison.notes, readable=True
    )


def comparison_bars(comparison: Comparison, *, narrow: bool = False) -> Figure:
    """A group of bars per model: clean, oblivious, and the worst case, each with its 95% interval.

    Args:
        comparison: the comparison.
        narrow: whether the figure is for a phone, with shorter lines.
    """
    models = comparison.models
    height = 1.5 + (1.05 if narrow else 0.85) * len(models)
    figure = new_figure(NARROW if narrow else WIDE, height)
    axes = figure.add_subplot()
    title = f"Clean, and worst case at {comparison.condition}, on {comparison.data.text}"
    dress(axes, title=textwrap.fill(title, 38 if narrow else 90), x="Accuracy, %", grid="x", text=TEXT)
    labels: dict[str, None] = {}
    for place, each in enumerate(models):
        bars = [("clean", each.clean), ("oblivious", each.oblivious), (each.threat, each.worst)]
        shown = [(threat, score) for threat, score in bars if score is not None]
        for number, (threat, score) in enumerate(shown):
            y = place + (number - (len(shown) - 1) / 2) * _BAR
            words = threat_words(threat)
            color, label = (EDGE, "Clean") if threat == "clean" else (words.color, words.title)
            x, low, high = (100 * share for share in (score.accuracy, score.low, score.high))
            axes.barh(y, x, 0.9 * _BAR, color=color, label=None if label in labels else label)
            labels[label] = None
            errors = [[max(x - low, 0)], [max(high - x, 0)]]
            axes.errorbar(x, y, xerr=errors, fmt="none", ecolor=INK, elinewidth=1.2, capsize=2)
            weight = "bold" if threat == each.threat else "normal"
            axes.text(high + 1.5, y, score.text, va="center", fontsize=TEXT, fontweight=weight, color=INK)
    names = [each.name if len(each.name) <= LONGEST else f"{each.name[: LONGEST - 1]}…" for each in models]
    names = [textwrap.fill(name, 14 if narrow else 24) for name in names]
    axes.set_yticks(range(len(models)), names, color=INK, parse_math=False)
    axes.set_ylim(len(models) - 0.5, -0.5)
    axes.set_xlim(0, 112)
    axes.set_xticks(range(0, 101, 25 if narrow else 20))
    axes.spines["bottom"].set_bounds(0, 100)
    figure.legend(
        loc="outside lower center",
        ncols=2 if narrow else 4,
        frameon=False,
        fontsize=TEXT,
        labelcolor=INK,
    )
    return figure


def _entry(score: Score | None, *more: str, style: str = "") -> Cell:
    return Cell(MISSING) if score is None else Cell(score.text, (score.interval, *more), style)
