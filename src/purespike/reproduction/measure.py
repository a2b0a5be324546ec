"""From models of several seeds to one row of cells."""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from torch import nn

from purespike.attacks import bounded
from purespike.budget import parse_eps
from purespike.evaluation import Evaluation
from purespike.models import Defended
from purespike.reproduction.sheet import ATTACKERS, Cell, Column, Sheet
from purespike.reproduction.workshop import TITLES, Unavailable, Workshop

# title of the column, and the attack
Attacks = Mapping[str, Mapping[str, Any]]

CLEAN = Column("Clean")


def columns_of(attacks: Attacks, attackers: Sequence[str]) -> list[Column]:
    """One column per attack and attacker; noise has none."""
    found = []
    for title, attack in attacks.items():
        whom = ("",) if attack["name"] == "gaussian_noise" else attackers
        found += [Column(title, attacker) for attacker in whom]
    return found


def measure(
    workshop: Workshop,
    dataset: str,
    models: Callable[[int], nn.Module],
    attacks: Attacks,
    attackers: Sequence[str],
    *,
    eps: str = "8/255",
    substitutes: Callable[[int], dict[str, nn.Module]] | None = None,
) -> dict[str, Cell]:
    """The cells of one row, clean accuracy first.

    Args:
        workshop: what trains and attacks.
        dataset: whose test images are attacked.
        models: the model of a seed.
        attacks: by the title of their column; ``eps`` in one of them is its own.
        attackers: keys of :data:`~purespike.reproduction.sheet.ATTACKERS`.
        eps: the budget of the others.
        substitutes: the attacker's models of a seed, for ``transfer``.
    """
    found: dict[str, list[dict[str, Any]]] = {}
    threats: dict[str, str] = {}
    for seed in workshop.seeds:
        model = models(seed)
        whom = {name: ATTACKERS[name][0 if isinstance(model, Defended) else 1] for name in attackers}
        sent = None if substitutes is None else substitutes(seed)
        for budget in dict.fromkeys(str(attack.get("eps", eps)) for attack in attacks.values()):
            here = {key: dict(attack) for key, attack in attacks.items() if attack.get("eps", eps) == budget}
            for attack in here.values():
                attack.pop("eps", None)
            names = [name for name in whom.values() if name is not None]
            result = workshop.evaluate(
                model, dataset, list(here.values()), names, eps=[budget], substitutes=sent, seed=seed
            )
            for title, attack in here.items():
                for attacker, threat in whom.items():
                    cell = _cell(result, attack, threat, budget)
                    if cell is not None:
                        noise = attack["name"] == "gaussian_noise"
                        key = Column(title, "" if noise else attacker).key
                        found.setdefault(key, []).append(cell["score"])
                        threats[key] = "noise" if noise else str(threat)
        found.setdefault(CLEAN.key, []).append(_clean(result, isinstance(model, Defended)))
    return {key: _pooled(scores, threats.get(key)) for key, scores in found.items()}


def add_row(
    sheet: Sheet,
    workshop: Workshop,
    dataset: str,
    method: str,
    models: Callable[[int], nn.Module],
    attacks: Attacks,
    attackers: Sequence[str],
    *,
    group: str = "",
    **settings: Any,
) -> None:
    """Append what :func:`measure` finds, or why it cannot; ``group`` is the data set's title by default."""
    group = group or TITLES[dataset]
    with unless_missing(sheet, group, method):
        sheet.add(group, method, measure(workshop, dataset, models, attacks, attackers, **settings))


@contextlib.contextmanager
def unless_missing(sheet: Sheet, group: str, method: str) -> Iterator[None]:
    """Where images cannot be had inside, a row of ``sheet`` says so."""
    try:
        yield
    except Unavailable as error:
        sheet.missing(group, method, str(error))


def _cell(
    result: Evaluation, attack: Mapping[str, Any], threat: str | None, eps: str
) -> dict[str, Any] | None:
    for cell in result.content["cells"]:
        same = cell["attack"] == attack["name"] and cell["threat"] == threat
        same = same and all(
            cell["settings"].get(key) == value for key, value in attack.items() if key != "name"
        )
        if same and (not bounded(attack["name"]) or abs(cell["eps"] - parse_eps(eps)) < 1e-9):
            return cell
    return None


def _clean(result: Evaluation, defended: bool) -> dict[str, Any]:
    scores = result.content["clean_whole"] or result.content["clean"]
    return scores["defended" if defended else "undefended"]


def _pooled(scores: Sequence[Mapping[str, Any]], threat: str | None) -> Cell:
    one = scores[0] if len(scores) == 1 else {}
    return Cell(
        tuple(score["accuracy"] for score in scores),
        threat=threat,
        n=scores[0]["n"],
        low=one.get("low"),
        high=one.get("high"),
    )
