"""Pictures of training: losses, accuracies and how often each layer fires."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from purespike.errors import Absent
from purespike.reporting.drawing import EDGE, INK, NARROW, SERIES, TEXT, WIDE, WRONG, dress, new_figure
from purespike.results import Epoch

SILENT, SATURATED = 0.01, 0.95
_LOSSES = {
    "loss": "total",
    "reconstruction": "reconstruction",
    "asymmetric": "asymmetric",
    "total_variation": "total variation",
    "pixel": "pixel",
    "noise_map": "noise level",
    "stability": "stability",
    "labels": "labels",
}
_ACCURACIES = {
    "accuracy": "training",
    "adversarial_accuracy": "training, adversarial",
    "noisy_accuracy": "training, noisy",
    "test_accuracy": "test",
}


def training_curves(history: Sequence[Epoch], *, narrow: bool = False) -> Figure:
    """Loss and accuracy of the classifier and every loss term of the purifier, by epoch.

    A loss is drawn on a log scale where it spans more than a factor of ten.

    Args:
        history: epochs of a run.
        narrow: whether the panels stand one below the other, for a phone.

    Raises:
        Absent: the history holds no epoch after training began.
    """
    panels: list[tuple[str, str, dict[str, str]]] = []
    for stage in _stages(history):
        for quantity, names in (("loss", _LOSSES), ("accuracy", _ACCURACIES)):
            if any(_points(history, stage, name)[0] for name in names):
                panels.append((stage, quantity, names))
    if not panels:
        raise Absent("no loss and no accuracy was recorded")
    columns = 1 if narrow else len(panels) if len(panels) < 4 else 2
    rows = -(-len(panels) // columns)
    figure = new_figure(NARROW if narrow else WIDE, (2.9 if narrow else 3.5) * rows)
    for place, (stage, quantity, names) in enumerate(panels):
        axes = figure.add_subplot(rows, columns, place + 1)
        share = quantity == "accuracy"
        dress(axes, title=f"{stage.capitalize()} {quantity}", x="epoch", y="%" if share else "", text=TEXT)
        lows, highs = [], []
        drawn = {name: _points(history, stage, name) for name in names}
        drawn = {name: points for name, points in drawn.items() if points[0]}
        for index, (name, (epochs, values)) in enumerate(drawn.items()):
            heights = [100 * value for value in values] if share else values
            small = ".-" if len(epochs) < 30 else "-"
            axes.plot(epochs, heights, small, color=SERIES[index], linewidth=1.8, label=names[name])
            lows.append(min(heights))
            highs.append(max(heights))
        if not share and min(lows) > 0 and max(highs) > 10 * min(lows):
            axes.set_yscale("log")
            axes.yaxis.set_major_formatter("{x:g}")
            axes.yaxis.set_minor_formatter("")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        if len(drawn) > 1:
            axes.legend(frameon=False, fontsize=TEXT, labelcolor=INK)
    return figure


def firing_rates(history: Sequence[Epoch], *, narrow: bool = False) -> Figure:
    """The share of its possible spikes that each layer emitted, before training and after, a panel per stage.

    Layers under 1% after training are marked as silent, those over 95% as saturated.

    Args:
        history: epochs of a run.
        narrow: whether the panels stand one below the other, for a phone.

    Raises:
        Absent: the history holds no firing rates.
    """
    stages = {stage: rates for stage in _stages(history) if (rates := _rates(history, stage))}
    if not stages:
        raise Absent("no firing rates were recorded")
    layers = [len(after) for _, after in stages.values()]
    if narrow:
        figure = new_figure(NARROW, 1.1 * len(stages) + 0.9 + 0.27 * sum(layers))
        panels = figure.subplots(len(stages), 1, squeeze=False, height_ratios=[4 + n for n in layers])[:, 0]
    else:
        figure = new_figure(WIDE, 1.6 + 0.27 * max(layers))
        panels = figure.subplots(1, len(stages), squeeze=False)[0]
    for axes, (stage, rates) in zip(panels, stages.items(), strict=True):
        dress(axes, title=stage.capitalize(), x="spikes emitted, % of possible", grid="x", text=TEXT)
        _dots(axes, *rates, longest=19 if narrow else 24)
        axes.set_ylim((len(rates[1]) if narrow else max(layers)) - 0.4, -0.6)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(
        handles,
        labels,
        loc="outside lower center",
        ncols=1 if narrow else 3,
        frameon=False,
        fontsize=TEXT,
        labelcolor=INK,
    )
    return figure


def _dots(axes: Axes, before: Mapping[str, float], after: Mapping[str, float], *, longest: int) -> None:
    layers = list(after)
    places = np.arange(len(layers))
    start = np.array([100 * before.get(layer, np.nan) for layer in layers])
    end = np.array([100 * after[layer] for layer in layers])
    # a square root spreads the sparse end, where layers live and where silence must be told from little
    axes.set_xscale("function", functions=(lambda x: np.sqrt(np.maximum(x, 0)), np.square))
    axes.axvspan(
        0, 100 * SILENT, color=WRONG, alpha=0.10, linewidth=0, label="silent (< 1%) or saturated (> 95%)"
    )
    axes.axvspan(100 * SATURATED, 100, color=WRONG, alpha=0.10, linewidth=0)
    axes.hlines(places, start, end, color=EDGE, linewidth=1.5, zorder=2)
    axes.plot(
        start, places, "o", color="white", markeredgecolor=SERIES[0], markersize=6.5, label="before training"
    )
    axes.plot(end, places, "o", color=SERIES[0], markersize=6.5, label="after training")
    axes.set_yticks(places, [_shorten(layer, longest) for layer in layers], color=INK, parse_math=False)
    for place, rate, label in zip(places, end / 100, axes.get_yticklabels(), strict=True):
        word = "silent" if rate < SILENT else "saturated" if rate > SATURATED else ""
        if word:
            label.set(color=WRONG, fontweight="bold")
            axes.plot(100 * rate, place, "X", color=WRONG, markersize=9, zorder=4, clip_on=False)
            axes.annotate(
                f"{word}\n{100 * rate:.1f}%",
                (1, place),
                xycoords=("axes fraction", "data"),
                xytext=(7, 0),
                textcoords="offset points",
                va="center",
                fontsize=TEXT,
                color=WRONG,
                fontweight="bold",
            )
    axes.set_xticks([0, 1, 5, 10, 25, 50, 75, 100])
    axes.set_xlim(0, 100)
    axes.minorticks_off()


def _stages(history: Iterable[Epoch]) -> list[str]:
    return list(dict.fromkeys(row.stage for row in history))


def _points(history: Iterable[Epoch], stage: str, name: str) -> tuple[list[int], list[float]]:
    # a resumed run may record an epoch twice; the later record is the one that counts
    found = {
        row.epoch: value for row in history if row.stage == stage and (value := row.value(name)) is not None
    }
    epochs = sorted(found)
    return epochs, [found[epoch] for epoch in epochs]


def _rates(history: Iterable[Epoch], stage: str) -> tuple[Mapping[str, float], Mapping[str, float]] | None:
    rows = [row for row in history if row.stage == stage and row.firing_rates]
    if not rows:
        return None
    before = [row.firing_rates for row in rows if row.epoch == 0]
    return (before[-1] if before else {}), max(rows, key=lambda row: row.epoch).firing_rates


def _shorten(name: str, longest: int) -> str:
    return name if len(name) <= longest else f"{name[: longest // 2 - 1]}…{name[-longest // 2 :]}"
