"""Result cards of an evaluation, one per budget."""

from pathlib import Path
from typing import Any

from purespike.budget import PARSERS, format_eps, parse_radius, same_eps
from purespike.errors import InputError
from purespike.results.card import Card, CleanCard
from purespike.results.cell import Cell, bound_key
from purespike.results.evaluation import Evaluation
from purespike.results.provenance import Provenance
from purespike.results.score import Score
from purespike.results.vocabulary import THREATS

_ABOUT: dict[str, Any] = {
    "link": "",
    "authors": "",
    "additional_data": None,
    "venue": "",
    "reported": None,
    "footnote": "",
}


def make_card(evaluation: Evaluation, *, name: str, eps: float | str, **about: Any) -> Card:
    """The card of one budget of an evaluation.

    Args:
        evaluation: the evaluation.
        name: name of the model.
        eps: one of the budgets.
        about: ``link``, ``authors``, ``venue``, ``additional_data``, ``reported`` and ``footnote``.

    Raises:
        InputError: nothing was measured at ``eps``, or outcomes per image are missing.
    """
    eps = PARSERS.get(evaluation.norm, parse_radius)(eps)
    # a model that draws nothing has no row for who knows its draws
    always = (name for name, words in THREATS.items() if not words.knows_draws)
    threats = tuple(dict.fromkeys((*always, *evaluation.threats)))
    cells = evaluation.cells_at(eps, threats)
    if not cells:
        raise InputError(
            f"evaluation: no attack was run at eps {format_eps(eps)}, so there is no card for it"
        )

    autoattack = _autoattack(evaluation, eps)
    clean, origin, verdict = evaluation.clean, evaluation.provenance or Provenance(), evaluation.verdict
    robust = {threat: evaluation.worst_score(eps, threat) for threat in threats}
    scores = {
        "clean_acc": clean.defended or clean.undefended,
        **{f"{threat}_acc": score for threat, score in robust.items()},
        "worst_case": evaluation.worst_score(eps, *evaluation.end_to_end_threats),
        "autoattack_acc": Score.of(autoattack.robust) if autoattack else None,
    }
    return Card(
        **{**_ABOUT, **about},
        name=name,
        number_forward_passes=max(cell.passes for cell in cells),
        dataset=evaluation.data.source,
        architecture=evaluation.model.text,
        eps=eps,
        clean_acc=_percent(scores["clean_acc"]),
        autoattack_acc=_percent(scores["autoattack_acc"]),
        unreliable=verdict is not None and verdict.level == "unreliable",
        norm=evaluation.norm,
        autoattack_threat=autoattack.threat if autoattack else None,
        autoattack_version=autoattack.settings.version if autoattack else None,
        robust={threat: _percent(score) for threat, score in robust.items()},
        worst_case=_percent(scores["worst_case"]),
        intervals={key: (100 * score.low, 100 * score.high) for key, score in scores.items() if score},
        clean=CleanCard(bare=_percent(clean.undefended), purified=_percent(clean.defended)),
        attacks={
            threat: tuple(dict.fromkeys(evaluation.label(cell) for cell in cells if cell.threat == threat))
            for threat in threats
            if any(cell.threat == threat for cell in cells)
        },
        images=evaluation.data.n,
        fingerprint=evaluation.data.fingerprint,
        verdict=verdict,
        diagnostics=evaluation.diagnostics,
        warnings=tuple(dict.fromkeys(line for cell in cells for line in cell.warnings)),
        seed=evaluation.seed,
        commit=origin.commit,
        dirty=origin.dirty,
        command=origin.command,
        date=origin.date,
    )


def write_cards(
    evaluation: Evaluation, folder: str | Path, *, name: str, former: Evaluation | None = None
) -> list[Path]:
    """Write one card per budget, ``card-linf-8_255.json``; none for an evaluation without budgets.

    Args:
        evaluation: the evaluation.
        folder: folder of the cards.
        name: name of the model in a leaderboard.
        former: the evaluation that this one replaces in the folder; its cards at other budgets are removed.

    Raises:
        InputError: outcomes per image are missing.
    """
    paths = _paths(evaluation, Path(folder))
    for path, eps in paths.items():
        make_card(evaluation, name=name, eps=eps).save(path)
    for path in _paths(former, Path(folder)).keys() - paths.keys() if former else ():
        path.unlink(missing_ok=True)
    return list(paths)


def _paths(evaluation: Evaluation, folder: Path) -> dict[Path, float]:
    return {folder / f"card-{bound_key(evaluation.norm, eps)}.json": eps for eps in evaluation.budgets}


def _percent(score: Score | None) -> float | None:
    return None if score is None else 100 * score.accuracy


def _autoattack(evaluation: Evaluation, eps: float) -> Cell | None:
    # without a purifier an attack on the classifier alone is end to end
    for threat in ("adaptive",) if evaluation.defended else ("adaptive", "undefended"):
        for name in ("autoattack", "autoattack_rand"):
            for cell in evaluation.cells:
                same = (cell.attack, cell.threat, cell.norm) == (name, threat, evaluation.norm)
                if same and same_eps(cell.eps, eps):
                    return cell
    return None
