"""Which images stand after which attack: the outcomes per image of an evaluation, put together."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from purespike.errors import InputError
from purespike.reporting.tables import cell_steps
from purespike.reporting.words import THREATS, Evaluation, attack_text, eps_text, same_eps
from purespike.results.vocabulary import attack_words

Cell = Mapping[str, Any]

# from the attacker who knows least to the one who knows most
_BY_KNOWLEDGE = ("oblivious", "transfer", "query", "undefended", "bpda", "adaptive")


@dataclass(frozen=True)
class Step:
    """One stage of a waterfall: ``standing`` images are left, ``broken`` fell in this stage."""

    label: str
    standing: int
    broken: int


def norm_of(evaluation: Evaluation) -> str:
    """``"linf"`` or ``"l2"``: the norm of the evaluation's budgets."""
    norm = evaluation["settings"].get("norm")
    bounded = (cell["norm"] for cell in evaluation["cells"] if cell["eps"] is not None)
    return str(norm or next(bounded, "linf"))


def whole_threats(evaluation: Evaluation) -> tuple[str, ...]:
    """The threat models measured that attack the whole: not the classifier whose purifier was taken away."""
    seen = {cell["threat"] for cell in evaluation["cells"]}
    alone = evaluation["model"]["purifier"] is None
    return tuple(threat for threat in THREATS if threat in seen and (alone or threat != "undefended"))


def cells_at(evaluation: Evaluation, eps: float, threats: Iterable[str]) -> list[Cell]:
    """The cells of one budget under some threat models, in the order of attacks, then of steps."""
    norm, wanted = norm_of(evaluation), set(threats)
    found = [
        cell
        for cell in evaluation["cells"]
        if cell["threat"] in wanted and cell["norm"] == norm and same_eps(cell["eps"], eps)
    ]

    def rank(cell: Cell) -> tuple[int, int]:
        return attack_words(cell["attack"]).order, cell_steps(cell) or 1

    return sorted(found, key=rank)


def worst_case(evaluation: Evaluation, eps: float, threats: Iterable[str]) -> np.ndarray | None:
    """Which images stand under every attack of a budget and of some threat models, bool ``[N]``.

    ``None`` if none of them was run.

    Raises:
        InputError: a cell has no outcomes per image.
    """
    columns = [outcomes(cell) for cell in cells_at(evaluation, eps, threats)]
    return np.logical_and.reduce(columns) if columns else None


def outcomes(cell: Cell) -> np.ndarray:
    """Bool ``[N]``: is the image still classified correctly?

    Raises:
        InputError: there are none, or their number is not that of the score.
    """
    values = np.asarray(cell.get("outcomes") or [], dtype=bool)
    if len(values) != cell["score"]["n"]:
        raise InputError(
            f"evaluation: {cell['attack']}, {cell['threat']} has outcomes for {len(values)} of "
            f"{cell['score']['n']} images; evaluate again"
        )
    return values


def clean_outcomes(evaluation: Evaluation, *, defended: bool) -> np.ndarray:
    """Bool ``[N]``: which clean images are right, without or with the purifier.

    Raises:
        InputError: they were not kept.
    """
    values = (evaluation.get("clean_outcomes") or {}).get("defended" if defended else "undefended")
    if not values:
        raise InputError("the outcomes per image on clean images were not kept")
    return np.asarray(values, dtype=bool)


def attack_waterfall(evaluation: Evaluation, eps: float, threat: str) -> list[Step]:
    """How many images stand after each attack of one threat model in turn, clean first.

    Raises:
        InputError: no attack of this threat model and budget, or outcomes were not kept.
    """
    cells = cells_at(evaluation, eps, [threat])
    if not cells:
        raise InputError(f"no attack was run at eps {eps_text(eps)} under threat model {threat}")
    stages = []
    for cell in cells:
        name = attack_text(cell["attack"], cell_steps(cell))
        stages.append((f"{name}\n(raised)" if cell.get("raised_from") else name, [outcomes(cell)]))
    return _fall(clean_outcomes(evaluation, defended=threat != "undefended"), stages)


def threat_waterfall(evaluation: Evaluation, eps: float) -> list[Step]:
    """How many images stand as the attackers learn more: threat model after threat model, clean first.

    The last stage is the worst case over everything that attacks the whole.

    Raises:
        InputError: no attack at this budget, or outcomes were not kept.
    """
    threats = [threat for threat in _BY_KNOWLEDGE if threat in whole_threats(evaluation)]
    stages = []
    for threat in threats:
        columns = [outcomes(cell) for cell in cells_at(evaluation, eps, [threat])]
        if columns:
            stages.append((THREATS[threat].title, columns))
    if not stages:
        raise InputError(f"no attack was run at eps {eps_text(eps)}")
    return _fall(clean_outcomes(evaluation, defended=True), stages)


def cell_key(cell: Cell) -> str:
    """A cell's name, ``adaptive/linf-8_255/pgd-20``: threat model, bound, attack with its steps."""
    steps = cell_steps(cell)
    attack = f"{cell['attack']}-{steps}" if steps and steps > 1 else cell["attack"]
    return f"{cell['threat']}/{bound_key(cell)}/{attack}"


def bound_key(cell: Cell) -> str:
    """What bounds a cell, as part of a name: ``linf-8_255``, ``l2-0.5``, ``noise-20_255``."""
    size = cell["eps"]
    if size is None:
        size = (cell.get("settings") or {}).get("level")
    return f"{cell['norm']}-{'unbounded' if size is None else eps_text(size).replace('/', '_')}"


def _fall(standing: np.ndarray, stages: Sequence[tuple[str, list[np.ndarray]]]) -> list[Step]:
    steps = [Step("clean", int(standing.sum()), 0)]
    for label, columns in stages:
        left = np.logical_and.reduce([standing, *columns])
        steps.append(Step(label, int(left.sum()), int(standing.sum() - left.sum())))
        standing = left
    return steps
