"""Certified accuracy as a table and as a curve over the L2 radius."""

from functools import partial

import numpy as np
from matplotlib.figure import Figure

from purespike.reporting.drawing import FAINT, NARROW, SERIES, TEXT, WIDE, dress, new_figure
from purespike.reporting.grid import Cell, Grid, Group, Head, Row, csv_text
from purespike.results import Certification, CertifiedModel, Score

COLUMNS = ("model", "image", "label", "selected", "prediction", "n_a", "p_lower", "radius", "radius_linf")


def certified_grid(certification: Certification) -> Grid:
    """Certified accuracy of every model at every radius, L2 and the L∞ ball inside it."""
    models, smoothing = certification.models, certification.smoothing
    rows = [
        Row(
            f"{radius:g}",
            [linf_text(certification, radius), *(_entry(each.accuracy(radius)) for each in models.values())],
        )
        for radius in certification.radii
    ]
    average = [f"{each.average_radius:.3f}" for each in models.values()]
    abstained = [f"{each.abstained} of {certification.data.n}" for each in models.values()]
    rows += [Row("average radius", ["", *average]), Row("abstained", ["", *abstained])]
    return Grid(
        f"Certified accuracy in % [95% Wilson interval] on {certification.data.text}: the share of images "
        "whose smoothed prediction is right and proven to stay so within the radius. "
        f"{conditions(certification)}.",
        [Head("L2 radius"), Head("L∞ radius"), *map(Head, models)],
        [Group("", rows)],
        (f"No radius can exceed {smoothing.largest_radius:.3f} with {smoothing.n:,} draws.",),
        readable=True,
    )


def conditions(certification: Certification) -> str:
    """``Gaussian noise of sigma 0.25; 100 draws select, 10,000 estimate; alpha 0.001 per image``."""
    smoothing = certification.smoothing
    return (
        f"Gaussian noise of sigma {smoothing.sigma:g}; {smoothing.n0:,} draws select a class, "
        f"{smoothing.n:,} new ones estimate it; each certificate is false with a probability of at most "
        f"{smoothing.alpha:g}; abstentions are errors"
    )


def linf_text(certification: Certification, radius: float) -> str:
    """``0.0045 (1.2/255)``."""
    linf = certification.linf(radius)
    return f"{linf:.4f} ({255 * linf:.1f}/255)" if radius else "0"


def certified_csv(certification: Certification) -> str:
    """One line per model and image."""
    return csv_text(
        COLUMNS,
        [
            [
                *(name, image, one.label, one.selected, one.prediction, one.n_a, one.p_lower, one.radius),
                certification.linf(one.radius),
            ]
            for name, each in certification.models.items()
            for image, one in enumerate(each.certificates)
        ],
    )


def certified_curve(certification: Certification, *, narrow: bool = False) -> Figure:
    """Certified accuracy against the L2 radius, a line and a 95% band per model; the L∞ radius above.

    Args:
        certification: the certificates.
        narrow: whether the figure is for a phone.
    """
    largest = certification.smoothing.largest_radius
    figure = new_figure(NARROW, 4.4) if narrow else new_figure(WIDE, 5.0)
    axes = figure.add_subplot()
    dress(axes, x="L2 radius, in pixel units", y="Certified accuracy, %", text=TEXT)
    for number, (name, each) in enumerate(certification.models.items()):
        x, y, low, high = _steps(each, largest)
        color = SERIES[number % len(SERIES)]
        axes.fill_between(x, low, high, step="post", color=color, alpha=0.14, linewidth=0)
        # beyond the colours there are, lines are told apart by their dashes
        style = "-" if number < len(SERIES) else "--"
        axes.plot(x, y, style, drawstyle="steps-post", color=color, lw=2.2, label=name, clip_on=False)
    axes.axvline(largest, color=FAINT, linewidth=1, linestyle=(0, (2, 2)))
    axes.set_xlim(0, 1.02 * largest)
    axes.set_ylim(0, 101)
    axes.set_yticks(range(0, 101, 20))
    scale = 255 * certification.linf(1)
    above = axes.secondary_xaxis(
        "top", functions=(partial(np.multiply, scale), partial(np.multiply, 1 / scale))
    )
    above.set_xlabel("L∞ radius inside it, in n/255", fontsize=TEXT, color=FAINT)
    above.tick_params(colors=FAINT, labelsize=TEXT, length=0)
    above.spines["top"].set_visible(False)
    figure.legend(loc="outside lower center", ncols=1 if narrow else 3, frameon=False, fontsize=TEXT)
    return figure


def _entry(score: Score) -> Cell:
    return Cell(score.text, (score.interval,))


def _steps(each: CertifiedModel, largest: float) -> np.ndarray:
    """Radii at which the certified accuracy falls, and from each on its value and interval in %."""
    radii = sorted(one.radius for one in each.certificates if one.correct)
    n = len(each.certificates)
    scores = [Score.share(count, n) for count in range(len(radii), -1, -1)]
    points = [(radius, score) for radius, score in zip([0.0, *radii], scores, strict=True)]
    points.append((max(largest, points[-1][0]), scores[-1]))
    rows = [(x, *(100 * v for v in (s.accuracy, s.low, s.high))) for x, s in points]
    return np.array(rows).T
