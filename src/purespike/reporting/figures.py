"""Pictures of what was measured, robustness and example images, as matplotlib ``Figure``."""

import math
from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from purespike.errors import InputError
from purespike.reporting.drawing import (
    FAINT,
    INK,
    RIGHT,
    THREAT_COLORS,
    THREAT_MARKERS,
    WRONG,
    dress,
    new_figure,
    spread,
)
from purespike.reporting.dynamics import firing_rates, training_curves
from purespike.reporting.standing import norm_of
from purespike.reporting.tables import cell_steps, robustness_table
from purespike.reporting.waterfall import waterfall
from purespike.reporting.words import NORMS, THREATS, Evaluation, attack_text, data_text

__all__ = ["accuracy_curve", "firing_rates", "robustness_bars", "sample_grid", "training_curves", "waterfall"]

_COLUMNS = 8


def accuracy_curve(evaluation: Evaluation) -> Figure:
    """Accuracy against eps, one line and one 95% band per threat model; eps 0 is the clean accuracy.

    Eps is in n/255 for L∞ and a radius for L2. Drawn for the attack that was run at most sizes of eps.

    Raises:
        InputError: no attack with a bound was run.
    """
    norm = norm_of(evaluation)
    cells = [
        cell
        for cell in evaluation["cells"]
        if cell["norm"] == norm and cell["eps"] and cell.get("raised_from") is None
    ]
    if not cells:
        raise InputError(f"no attack with an {NORMS.get(norm, norm)} bound was run")
    # PGD-7 and PGD-20 are two attacks: their points do not belong on one line
    sizes = Counter(who for who, _ in {(_attacker(cell), cell["eps"]) for cell in cells})
    attack, steps = max(sizes, key=lambda who: (sizes[who], who[0] == "pgd", who[1]))
    cells = [cell for cell in cells if _attacker(cell) == (attack, steps)]
    scale, unit = (255, "/255") if norm == "linf" else (1, "")
    lines = _curve_lines(evaluation, cells, scale)
    figure = new_figure(10, 4.9)
    axes = figure.add_subplot()
    dress(
        axes,
        title=f"{attack_text(attack, steps)}, {NORMS.get(norm, norm)}, on {data_text(evaluation)}",
        x="eps, in n/255" if unit else "eps, radius in pixel units",
        y="Accuracy, %",
    )
    for threat, points in lines.items():
        x, y, low, high = np.array(points).T
        color = THREAT_COLORS[threat]
        axes.fill_between(x, low, high, color=color, alpha=0.14, linewidth=0)
        dash = (0, (4, 2)) if threat == "undefended" else "solid"
        marker = THREAT_MARKERS[threat]
        axes.plot(x, y, color=color, lw=2.2, linestyle=dash, marker=marker, ms=6, clip_on=False, zorder=3)
    right = max(point[0] for points in lines.values() for point in points)
    ends = [points[-1][1] for points in lines.values()]
    for (threat, points), height in zip(lines.items(), spread(ends, 11.5, 3, 97), strict=True):
        color = THREAT_COLORS[threat]
        axes.plot(
            [points[-1][0], right * 1.045], [points[-1][1], height], color=color, linewidth=0.8, alpha=0.6
        )
        label = f"{THREATS[threat].title}  {points[-1][1]:.1f} at {points[-1][0]:g}{unit}"
        axes.annotate(
            label,
            (right * 1.055, height),
            fontsize=10.5,
            fontweight="bold",
            color=color,
            va="bottom",
            xytext=(0, -3),
            textcoords="offset points",
            annotation_clip=False,
        )
        axes.annotate(
            THREATS[threat].short,
            (right * 1.055, height),
            fontsize=8.5,
            color=FAINT,
            va="top",
            xytext=(0, -3),
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
    dress(axes, title=f"Accuracy under attack ({table.heading}) on {data_text(evaluation)}", y="Accuracy, %")
    width = 0.82 / len(threats)
    for index, threat in enumerate(threats):
        shown = [(place, row.robust[threat]) for place, row in enumerate(rows) if row.robust[threat]]
        x = [place + (index - (len(threats) - 1) / 2) * width for place, _ in shown]
        scores = [entry.score for _, entry in shown if entry]
        y = np.array([100 * score["accuracy"] for score in scores])
        low = np.maximum(y - [100 * score["low"] for score in scores], 0)
        high = np.maximum([100 * score["high"] for score in scores] - y, 0)
        label = f"{THREATS[threat].title} ({THREATS[threat].short})"
        axes.bar(x, y, width * 0.92, color=THREAT_COLORS[threat], label=label)
        axes.errorbar(x, y, yerr=[low, high], fmt="none", ecolor=INK, elinewidth=1, capsize=2)
        for place, height, top in zip(x, y, y + high, strict=True):
            axes.text(place, top + 1.5, f"{height:.1f}", ha="center", fontsize=7, color=INK)
    labels = [
        row.attack if row.condition == table.heading else f"{row.attack}\n{row.condition}" for row in rows
    ]
    axes.set_xticks(range(len(rows)), labels, color=INK, parse_math=False)
    axes.set_ylim(0, 108)
    axes.set_yticks(range(0, 101, 20))
    figure.legend(loc="outside lower center", ncols=min(len(threats), 2), frameon=False, fontsize=9)
    return figure


def sample_grid(samples: Mapping[str, Any]) -> Figure:
    """Example images by column: clean, adversarial, purified, and both differences on mid grey.

    Both differences share one amplification factor, the one that makes the perturbation fill half the range.
    Predictions are coloured and marked by right or wrong.
    """
    clean, adversarial, purified = (
        np.asarray(samples[name][:_COLUMNS], np.float32) for name in ("clean", "adversarial", "purified")
    )
    perturbation, change = adversarial - clean, purified - clean
    factor = amplification(perturbation)
    rows = [
        ("Clean", clean, "labels"),
        ("Adversarial", adversarial, "undefended_prediction"),
        ("Purified", purified, "defended_prediction"),
        (f"Perturbation\n×{factor}, grey = 0", 0.5 + factor * perturbation, None),
        (f"Purified − clean\n×{factor}, grey = 0", 0.5 + factor * change, None),
    ]
    columns = len(clean)
    figure = new_figure(10, 0.5 + (10 - 1.4) / max(columns, 5) * 5.6)
    grid = figure.subplots(len(rows), columns, squeeze=False)
    for line, (title, images, prediction) in zip(grid, rows, strict=True):
        line[0].set_ylabel(title, rotation=0, ha="right", va="center", fontsize=9.5, color=INK, labelpad=8)
        for axes, image, index in zip(line, images, range(columns), strict=True):
            picture = np.nan_to_num(np.moveaxis(image, 0, -1), nan=0.5).clip(0, 1)
            axes.imshow(
                picture.squeeze(-1) if picture.shape[-1] == 1 else picture, cmap="gray", vmin=0, vmax=1
            )
            axes.set_xticks([])
            axes.set_yticks([])
            for spine in axes.spines.values():
                spine.set(color="#c9cdd3", linewidth=0.8)
            if prediction:
                text, color = _verdict(samples, prediction, index)
                axes.set_xlabel(text, fontsize=8.5, color=color, labelpad=3, parse_math=False)
    return figure


def amplification(perturbation: np.ndarray) -> int:
    """The whole factor at which the perturbation spans half the range; 1 if there is none."""
    largest = float(np.abs(perturbation).max(initial=0.0))
    return max(1, math.floor(0.505 / largest)) if largest > 1e-6 else 1


def _attacker(cell: dict[str, Any]) -> tuple[str, int]:
    return cell["attack"], cell_steps(cell) or 1


def _curve_lines(
    evaluation: Evaluation, cells: list[dict[str, Any]], scale: float
) -> dict[str, list[tuple[float, ...]]]:
    lines: dict[str, list[tuple[float, ...]]] = {}
    for threat in THREATS:
        scores = {cell["eps"]: cell["score"] for cell in cells if cell["threat"] == threat}
        clean = evaluation["clean"]["undefended" if threat == "undefended" else "defended"]
        if not scores:
            continue
        if clean:
            scores[0.0] = clean
        lines[threat] = [
            (round(scale * eps, 3), *(100 * score[name] for name in ("accuracy", "low", "high")))
            for eps, score in sorted(scores.items())
        ]
    return lines


def _verdict(samples: Mapping[str, Any], prediction: str, index: int) -> tuple[str, str]:
    names = [str(name) for name in samples.get("class_names", ())]
    value, label = int(samples[prediction][index]), int(samples["labels"][index])
    name = names[value] if 0 <= value < len(names) else str(value)
    name = name if len(name) <= 11 else name[:10] + "…"
    if prediction == "labels":
        return name, INK
    return (f"✓ {name}", RIGHT) if value == label else (f"✗ {name}", WRONG)
