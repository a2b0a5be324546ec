"""A picture of how an accuracy came down, attack by attack and threat model by threat model."""

import textwrap

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from purespike.budget import format_eps
from purespike.errors import Absent
from purespike.reporting.drawing import FAINT, INK, NARROW, TEXT, TITLE, WIDE, dress, new_figure
from purespike.results import Evaluation
from purespike.results.vocabulary import NORMS, percent, threat_words
from purespike.results.waterfall import Stage, attack_waterfall, threat_waterfall


def waterfall(evaluation: Evaluation, *, narrow: bool = False) -> Figure:
    """Robust images after each attack in turn at the headline eps, as AutoAttack reports itself.

    The first panel takes the attacks of one threat model one by one: that of the attacker who knows the
    model best. The second takes the threat models, from the attacker who knows least to the one who knows
    most; it ends at the worst case over every attack on the defended model.

    Args:
        evaluation: the evaluation.
        narrow: whether the panels stand one below the other, for a phone.

    Raises:
        Absent: no attack with a bound was run, or the outcomes per image were not kept.
    """
    if not evaluation.budgets:
        raise Absent("no attack with a bound was run")
    eps = evaluation.budgets[0]
    bound = f"{NORMS.get(evaluation.norm, evaluation.norm)}, eps {format_eps(eps)}, on {evaluation.data.text}"
    cells = evaluation.cells_at(eps, evaluation.threats)
    if not cells:
        raise Absent("no attack with a bound was run")
    threat = max((cell.threat for cell in cells), key=lambda name: threat_words(name).knowledge)
    words = evaluation.words(threat)
    title = f"{words.title} ({words.short}), attack by attack: {bound}"
    panels = [(title, words.color, attack_waterfall(evaluation, eps, threat))]
    if len(evaluation.end_to_end_threats) > 1:
        title = f"Worst case, threat model by threat model: {bound}"
        panels.append((title, INK, threat_waterfall(evaluation, eps)))
    lengths = [len(stages) for _, _, stages in panels]
    heights = [1.3 + 0.36 * length for length in lengths]
    images = evaluation.clean.undefended.n
    if narrow:
        figure = new_figure(NARROW, sum(heights))
        parts = figure.subfigures(len(panels), 1, squeeze=False, height_ratios=heights)[:, 0]
    else:
        figure = new_figure(WIDE, max(heights))
        parts = figure.subfigures(1, len(panels), squeeze=False)[0]
    for part, (title, color, stages) in zip(parts, panels, strict=True):
        folded = textwrap.fill(title, 38 if narrow or len(panels) > 1 else 90)
        part.suptitle(
            folded, x=0.01, ha="left", fontsize=TITLE, fontweight="bold", color=INK, parse_math=False
        )
        axes = part.subplots()
        dress(axes, x="Robust images, %", grid="x", text=TEXT)
        _fall(axes, stages, images, color)
        axes.set_ylim((len(stages) if narrow else max(lengths)) - 0.4, -0.6)
    return figure


def _fall(axes: Axes, stages: list[Stage], images: int, color: str) -> None:
    for place, stage in enumerate(stages):
        length, lost = (100 * count / images for count in (stage.robust, stage.broken))
        axes.barh(place, length, 0.62, color=FAINT if place == 0 else color)
        axes.barh(place, lost, 0.62, left=length, color=color, alpha=0.22, linewidth=0)
        if place:
            axes.plot([length + lost] * 2, [place - 0.69, place + 0.31], color=FAINT, linewidth=0.8)
        text = f"{percent(stage.robust / images)}%  {stage.robust}"
        text += f" (−{stage.broken})" if place else f" of {images}"
        axes.text(length + lost + 2, place, text, va="center", fontsize=TEXT, color=INK)
    axes.set_yticks(range(len(stages)), [stage.label for stage in stages], color=INK, parse_math=False)
    # room for the words beside a whole bar
    axes.set_xlim(0, 185)
    axes.set_xticks(range(0, 101, 25))
    axes.spines["bottom"].set_bounds(0, 100)
    axes.xaxis.label.set_x(50 / 185)
