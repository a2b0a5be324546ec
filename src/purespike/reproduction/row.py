"""From models of several seeds to the cells of one row."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import nn

from purespike.attacks import create_attack
from purespike.budget import parse_eps, same_eps
from purespike.errors import InputError
from purespike.models import Defended
from purespike.recipe import Recipe
from purespike.reproduction.attackers import ATTACKERS
from purespike.reproduction.context import ExperimentContext
from purespike.reproduction.draft import Draft
from purespike.reproduction.kept_rows import deciding
from purespike.reproduction.scale import TITLES
from purespike.reproduction.sheet import Column, SheetCell, SheetRow
from purespike.results import Cell, Evaluation, Score

Models = Callable[[int], nn.Module]
"""The model of a seed."""
Attacks = Mapping[Column, Mapping[str, Any]]
"""The attack of each column; an ``eps`` in it is its own budget."""

CLEAN = Column("Clean")


def by_attacker(attacks: Mapping[str, Mapping[str, Any]], attackers: Sequence[str]) -> Attacks:
    """One column per attack, given by title, and attacker."""
    return {Column(title, who): attack for title, attack in attacks.items() for who in attackers}


def measure_row(
    context: ExperimentContext,
    dataset: str,
    models: Models,
    attacks: Attacks,
    *,
    eps: str = "8/255",
    substitutes: Callable[[int], dict[str, nn.Module]] | None = None,
) -> dict[Column, SheetCell]:
    """The cells of one row, clean accuracy last.

    Args:
        context: models, data and settings of the measurement.
        dataset: data set whose test images are attacked.
        models: model of a seed.
        attacks: attack of each column.
        eps: budget of attacks that name none.
        substitutes: attacker's models of a seed, for ``transfer``.
    """
    scores: dict[Column, list[Score]] = {}
    threats: dict[Column, str] = {}
    for seed in context.seeds:
        model = models(seed)
        sent = None if substitutes is None else substitutes(seed)
        for budget in dict.fromkeys(str(attack.get("eps", eps)) for attack in attacks.values()):
            asked = {
                column: ({key: value for key, value in attack.items() if key != "eps"}, threat)
                for column, attack in attacks.items()
                if str(attack.get("eps", eps)) == budget and (threat := _threat(column, model))
            }
            result = context.evaluate(
                model,
                dataset,
                [attack for attack, _ in asked.values()],
                [threat for _, threat in asked.values()],
                eps=[budget],
                substitutes=sent,
                seed=seed,
            )
            for column, (attack, threat) in asked.items():
                cell = find_cell(result, attack, threat, budget)
                scores.setdefault(column, []).append(cell.score)
                threats[column] = "noise" if cell.norm == "noise" else threat
        clean = result.clean_whole or result.clean
        scores.setdefault(CLEAN, []).append(clean.defended or clean.undefended)
    return {column: pooled(found, threats.get(column)) for column, found in scores.items()}


def add_row(
    draft: Draft,
    context: ExperimentContext,
    dataset: str,
    method: str,
    models: Models,
    attacks: Attacks,
    *,
    recipes: Sequence[Recipe],
    group: str = "",
    eps: str = "8/255",
    substitutes: Callable[[int], dict[str, nn.Module]] | None = None,
) -> None:
    """Append :func:`measure_row` to ``draft``, kept by itself, or the reason why the row is missing.

    ``recipes`` are those of all models of a seed, substitutes included; ``group`` defaults to the data set's
    title; the other arguments are those of :func:`measure_row`.
    """
    group = group or TITLES[dataset]

    def measure() -> SheetRow:
        cells = measure_row(context, dataset, models, attacks, eps=eps, substitutes=substitutes)
        return SheetRow(group=group, method=method, origin="measured", cells=cells)

    with draft.unless_missing(group, method):
        settings = deciding(
            context,
            dataset,
            recipes,
            surrogates=list(context.scale.surrogates),
            attacks={column.key: attack for column, attack in attacks.items()},
            eps=eps,
        )
        draft.keep(context, f"{group} {method}", method, settings, measure)


def find_cell(result: Evaluation, attack: Mapping[str, Any], threat: str, eps: str) -> Cell:
    """The cell of an attack: that of its settings and its steps, at ``eps`` unless it has no budget.

    Raises:
        InputError: there is none.
    """
    name, made = attack["name"], create_attack(**attack)
    # a setting may have been given as text, and the default steps tell PGD from PGD-20
    wanted = {key: getattr(made, key) for key in (*attack, "steps") if key != "name" and hasattr(made, key)}
    for cell in result.cells:
        settings = cell.settings.model_extra or {}
        same = (cell.attack, cell.threat) == (name, threat)
        same = same and all(settings.get(key) == value for key, value in wanted.items())
        if same and (cell.eps is None or same_eps(cell.eps, parse_eps(eps))):
            return cell
    raise InputError(f"evaluation: holds no {name} {wanted} under threat model {threat} at eps {eps}")


def _threat(column: Column, model: nn.Module) -> str | None:
    attacker = ATTACKERS[column.attacker]
    return attacker.defended if isinstance(model, Defended) else attacker.bare


def pooled(scores: Sequence[Score], threat: str | None) -> SheetCell:
    """The cell of scores, one per seed; a single one keeps its interval."""
    interval = (scores[0].low, scores[0].high) if len(scores) == 1 else None
    return SheetCell.of([score.accuracy for score in scores], threat=threat, n=scores[0].n, interval=interval)
