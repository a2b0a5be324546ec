"""A picture of how an accuracy came down, attack by attack and threat model by threat model."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from purespike.budget import format_eps
from purespike.errors import InputError
from purespike.reporting.drawing import FAINT, INK, dress, new_figure
from purespike.results import Evaluation
from purespike.results.vocabulary import NORMS, percent, threat_words
from purespike.results.waterfall import Stage, attack_waterfall, threat_waterfall


def waterfall(evaluation: Evaluation) -> Figure:
    """Robust images after each attack in turn at the headline eps, as AutoAttack reports itself.

    The upper panel takes the attacks of one threat model one by one: that of the attacker who knows the
    model best. The lower one takes the threat models, from the attacker who knows least to the one who knows
    most; it ends at the worst case over every attack on the defended model.

    Raises:
        InputError: no attack with a bound was run, or the outcomes per image were not kept.
    """
    if not evaluation.budgets:
        raise InputError("no attack with a bound was run")
    eps = evaluation.budgets[0]
    bound = f"{NORMS.get(evaluation.norm, evaluation.norm)}, eps {format_eps(eps)}, on {evaluation.data.text}"
    cells = evaluation.cells_at(eps, evaluation.threats)
    if not cells:
        raise InputError("no attack with a bound was run")
    threat = max((cell.threat for cell in cells), key=lambda name: threat_words(name).knowledge)
    words = evaluation.words(threat)
    title = f"{words.title} ({words.short}), attack by attack: {bound}"
    panels = [(title, words.color, attack_waterfall(evaluation, eps, threat))]
    if len(evaluation.end_to_end_threats) > 1:
        title = f"Worst case, threat model by threat model: {bound}"
        panels.append((title, INK, threat_waterfall(evaluation, eps)))
    figure = new_figure(10, 0.4 + 3.1 * len(panels))
    figure.set_layout_engine("constrained", hspace=0.08)
    images = evaluation.clean.undefended.n
    for axes, (title, color, stages) in zip(
        figure.subplots(len(panels), 1, squeeze=False)[:, 0], panels, strict=True
    ):
        dress(axes, title=title, y="Robust images, %")
        _fall(axes, stages, images, color)
    return figure


def _fall(axes: Axes, stages: list[Stage], images: int, color: str) -> None:
    for place, stage in enumerate(stages):
        height, lost = (100 * count / images for count in (stage.robust, stage.broken))
        axes.bar(place, height, 0.62, color=FAINT if place == 0 else color)
        axes.bar(place, lost, 0.62, bottom=height, color=color, alpha=0.22, linewidth=0)
        if place:
            axes.plot([place - 0.69, place + 0.31], [height + lost] * 2, color=FAINT, linewidth=0.8)
        text = f"{percent(stage.robust / images)}%\n{stage.robust}" + (
            f" (−{stage.broken})" if place else f" of {images}"
        )
        axes.text(place, height + lost + 2, text, ha="center", va="bottom", fontsize=8, color=INK)
    # few bars stay slim
    axes.set_xlim(-0.6, max(len(stages), 6) - 0.4)
    axes.set_xticks(range(len(stages)), [stage.label for stage in stages], color=INK, parse_math=False)
    axes.set_ylim(0, 122)
    axes.set_yticks(range(0, 101, 20))
