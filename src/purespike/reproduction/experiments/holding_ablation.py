"""What a purifier trained through the whole owes to each of its choices, changed one at a time."""

from functools import partial
from typing import Any

from purespike.models import Defended
from purespike.reproduction.context import ExperimentContext
from purespike.reproduction.draft import Draft
from purespike.reproduction.experiments.holding import HOLDING, budgets
from purespike.reproduction.kept_rows import deciding
from purespike.reproduction.registry import experiment
from purespike.reproduction.row import CLEAN, Attacks, measure_row
from purespike.reproduction.scale import TITLES, changed
from purespike.reproduction.sheet import Column, SheetRow

ATTACKS: Attacks = {Column("PGD-20", who): {"name": "pgd", "steps": 20} for who in ("alone", "adaptive")}


@experiment("holding-ablation", order=11, printed=False, choice=True)
def holding_ablation(context: ExperimentContext) -> Draft:
    """Output stages, losses, attacks, starts and widths of a purifier trained through the whole."""
    tried = [name for name, part in context.scale.holding.items() if part.ablations]
    draft = Draft(
        "holding-ablation",
        f"What makes a purifier hold: one choice changed at a time, L∞ eps {budgets(context.scale, tried)}",
        [CLEAN, *ATTACKS],
        notes=[
            "Each row changes one choice of the first; the classifier is the same. All of them are "
            "trained more briefly than the purifier that holds.",
        ],
    )
    draft.choose(context.rows, [name for each in tried for name in context.scale.holding[each].ablations])
    for dataset, part in context.scale.holding.items():
        for name in part.ablations:
            with draft.unless_missing(TITLES.get(dataset, dataset), name):
                recipe = context.run(dataset, f"{HOLDING} {name}", 0, _changes(context, dataset, name)).recipe
                attacks = {column.key: attack for column, attack in ATTACKS.items()}
                settings = deciding(context, dataset, [recipe], attacks=attacks, eps=part.eps)
                measure = partial(_row, context, dataset, name)
                draft.keep(context, f"{dataset} {name}", name, settings, measure)
    return draft


def _row(context: ExperimentContext, dataset: str, name: str) -> SheetRow:
    models, eps = partial(_ablated, context, dataset, name), context.scale.holding[dataset].eps
    cells = measure_row(context, dataset, models, ATTACKS, eps=eps)
    return SheetRow(group=TITLES.get(dataset, dataset), method=name, origin="measured", cells=cells)


def _changes(context: ExperimentContext, dataset: str, name: str) -> dict[str, Any]:
    part = context.scale.holding[dataset]
    return changed(changed(part.purifier, part.briefly), part.ablations[name])


def _ablated(context: ExperimentContext, dataset: str, name: str, seed: int) -> Defended:
    changes = _changes(context, dataset, name)
    if changes.get("purifier", {}).get("start") == "paper":
        # it is trained before it is begun with
        context.defended(dataset, seed=seed)
        start = context.place(dataset, "plain", seed) / "purifier.safetensors"
        changes = changed(changes, {"purifier": {"start": str(start)}})
    return context.behind(dataset, f"{HOLDING} {name}", changes, seed)
