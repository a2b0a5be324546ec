"""An evaluation as rows of plain values: the content of ``robustness.csv``, and of a data frame."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from purespike.errors import InputError
from purespike.results.score import Score

if TYPE_CHECKING:
    import pandas

    from purespike.results.evaluation import Evaluation

_SCORE = ("correct", "n", "accuracy", "low", "high")
_CELL = ("mean_l2", "forwards", "backwards", "seconds")
COLUMNS = (
    *("attack", "steps", "norm", "eps", "level", "threat"),
    *_SCORE,
    *("passes", "pass_accuracy", "raised_from"),
    *_CELL,
    "warnings",
)


def rows(evaluation: Evaluation) -> list[dict[str, Any]]:
    """One row per cell, headed by the clean accuracies and followed by the worst cases; shares in [0, 1].

    The attack of a clean row is ``none``, of a worst case ``worst``; the norm of the clean accuracy with
    purifier is empty and its threat model ``defended``, a word used here only.
    """
    clean = evaluation.clean
    found: list[dict[str, Any]] = [
        {"attack": "none", "threat": name, **_score(score)}
        for name, score in (("undefended", clean.undefended), ("defended", clean.defended))
        if score
    ]
    found += [
        {name: getattr(cell, name) for name in (*_CELL, "attack", "steps", "norm", "eps", "threat")}
        | {name: getattr(cell, name) for name in ("passes", "pass_accuracy", "raised_from")}
        | {"level": cell.settings.level, "warnings": "; ".join(cell.warnings), **_score(cell.score)}
        for cell in evaluation.cells
    ]
    found += [
        {"attack": "worst", "eps": case.eps, "threat": case.threat, **_score(case.score)}
        for case in evaluation.worst_cases
    ]
    return found


def to_dataframe(evaluation: Evaluation) -> pandas.DataFrame:
    """:func:`rows` as a data frame, with the label of each attack.

    Raises:
        InputError: pandas is missing.
    """
    try:
        import pandas
    except ImportError:
        raise InputError("to_dataframe: needs the package pandas: pip install pandas") from None
    clean = (evaluation.clean.undefended, evaluation.clean.defended)
    labels = ["clean"] * sum(score is not None for score in clean)
    labels += [evaluation.label(cell) for cell in evaluation.cells]
    labels += ["worst case"] * len(evaluation.worst_cases)
    table = pandas.DataFrame(rows(evaluation), columns=COLUMNS)
    table.insert(1, "label", labels)
    return table


def _score(score: Score) -> dict[str, Any]:
    return {name: getattr(score, name) for name in _SCORE}
