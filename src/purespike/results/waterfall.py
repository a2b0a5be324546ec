"""How an accuracy came down: robust images after attack upon attack, or threat model upon threat model."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from purespike.budget import format_eps
from purespike.errors import Absent
from purespike.results.evaluation import Evaluation
from purespike.results.vocabulary import threat_words


@dataclass(frozen=True)
class Stage:
    """One stage of a waterfall.

    Args:
        label: attack or threat model.
        robust: images still robust after it.
        broken: images that this stage broke.
    """

    label: str
    robust: int
    broken: int


def attack_waterfall(evaluation: Evaluation, eps: float, threat: str) -> list[Stage]:
    """Robust images after each attack of one threat model in turn, clean first; it ends at the worst case.

    Raises:
        Absent: no attack of this threat model and budget, or outcomes were not kept.
    """
    cells = evaluation.cells_at(eps, [threat])
    if not cells:
        raise Absent(f"no attack was run at eps {format_eps(eps)} under threat model {threat}")
    stages = [
        (f"{evaluation.label(cell)}\n(raised)" if cell.raised_from else evaluation.label(cell), [cell.robust])
        for cell in cells
    ]
    worst = evaluation.worst_case_at(eps, [threat])
    assert worst is not None
    if (np.logical_and.reduce([robust for _, (robust,) in stages]) > worst).any():
        # attackers who know less, and smaller budgets, where they break more
        stages.append(("other threat models\nor smaller eps", [worst]))
    return _fall(evaluation.clean_correct(defended=threat != "undefended"), stages)


def threat_waterfall(evaluation: Evaluation, eps: float) -> list[Stage]:
    """Robust images as the attackers learn more: threat model after threat model, clean first.

    The last stage is the worst case over everything that attacks the defended model.

    Raises:
        Absent: no attack at this budget, or outcomes were not kept.
    """
    threats = sorted(evaluation.end_to_end_threats, key=lambda name: threat_words(name).knowledge)
    stages = []
    for threat in threats:
        worst = evaluation.worst_case_at(eps, [threat])
        if worst is not None:
            stages.append((threat_words(threat).title, [worst]))
    if not stages:
        raise Absent(f"no attack was run at eps {format_eps(eps)}")
    return _fall(evaluation.clean_correct(defended=True), stages)


def _fall(robust: np.ndarray, stages: Sequence[tuple[str, list[np.ndarray]]]) -> list[Stage]:
    found = [Stage("clean", int(robust.sum()), 0)]
    for label, columns in stages:
        left = np.logical_and.reduce([robust, *columns])
        found.append(Stage(label, int(left.sum()), int(robust.sum() - left.sum())))
        robust = left
    return found
