"""A picture of how an accuracy came down, attack by attack and threat model by threat model."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from purespike.errors import InputError
from purespike.reporting.drawing import FAINT, INK, THREAT_COLORS, dress, new_figure
from purespike.reporting.standing import Step, attack_waterfall, norm_of, threat_waterfall, whole_threats
from purespike.reporting.tables import table_eps
from purespike.reporting.words import NORMS, THREATS, Evaluation, data_text, eps_text

# the threat model whose attacks are taken apart: the first of these that was measured
_JUDGED_BY = ("adaptive", "undefended", "bpda")


def waterfall(evaluation: Evaluation) -> Figure:
    """How many images stand after each attack in turn at the headline eps, as AutoAttack reports itself.

    The upper panel takes the adaptive attacks one by one (for want of them undefended or BPDA ones), the
    lower one the threat models, from the attacker who knows least to the one who knows most; it ends at the
    worst case over everything that attacks the whole.

    Raises:
        InputError: no attack with a bound was run, or the outcomes per image were not kept.
    """
    eps = table_eps(evaluation)[0]
    if eps is None:
        raise InputError("no attack with a bound was run")
    measured = {cell["threat"] for cell in evaluation["cells"]}
    threat = next((name for name in _JUDGED_BY if name in measured), None)
    panels: list[tuple[str, str, list[Step]]] = []
    norm = norm_of(evaluation)
    bound = f"{NORMS.get(norm, norm)}, eps {eps_text(eps)}, on {data_text(evaluation)}"
    if threat:
        title = f"{THREATS[threat].title} ({THREATS[threat].short}), attack by attack: {bound}"
        panels.append((title, threat, attack_waterfall(evaluation, eps, threat)))
    if len(whole_threats(evaluation)) > 1 or not panels:
        title = f"Worst case, threat model by threat model: {bound}"
        panels.append((title, "", threat_waterfall(evaluation, eps)))
    figure = new_figure(10, 0.4 + 3.1 * len(panels))
    figure.set_layout_engine("constrained", hspace=0.08)
    images = evaluation["clean"]["undefended"]["n"]
    for axes, (title, name, steps) in zip(
        figure.subplots(len(panels), 1, squeeze=False)[:, 0], panels, strict=True
    ):
        dress(axes, title=title, y="Images standing, %")
        _fall(axes, steps, images, THREAT_COLORS.get(name, INK))
    return figure


def _fall(axes: Axes, steps: list[Step], images: int, color: str) -> None:
    for place, step in enumerate(steps):
        height, lost = (100 * count / images for count in (step.standing, step.broken))
        axes.bar(place, height, 0.62, color=FAINT if place == 0 else color)
        axes.bar(place, lost, 0.62, bottom=height, color=color, alpha=0.22, linewidth=0)
        if place:
            axes.plot([place - 0.69, place + 0.31], [height + lost] * 2, color=FAINT, linewidth=0.8)
        text = f"{height:.1f}%\n{step.standing}" + (f" (−{step.broken})" if place else f" of {images}")
        axes.text(place, height + lost + 2, text, ha="center", va="bottom", fontsize=8, color=INK)
    # few bars stay slim
    axes.set_xlim(-0.6, max(len(steps), 6) - 0.4)
    axes.set_xticks(range(len(steps)), [step.label for step in steps], color=INK, parse_math=False)
    axes.set_ylim(0, 122)
    axes.set_yticks(range(0, 101, 20))
