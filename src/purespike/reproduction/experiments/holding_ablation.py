"""What a purifier trained through the whole owes to each of its choices, changed one at a time."""

from functools import partial

from purespike.models import Defended
from purespike.reproduction.context import ExperimentContext
from purespike.reproduction.draft import Draft
from purespike.reproduction.experiments.holding import HOLDING, budgets
from purespike.reproduction.registry import experiment
from purespike.reproduction.row import CLEAN, Attacks, add_row
from purespike.reproduction.scale import changed
from purespike.reproduction.sheet import Column

ATTACKS: Attacks = {Column("PGD-20", who): {"name": "pgd", "steps": 20} for who in ("alone", "adaptive")}


@experiment("holding-ablation", order=11, printed=False)
def holding_ablation(context: ExperimentContext) -> Draft:
    """Output stages, losses, attacks, starts and widths of a purifier trained through the whole."""
    draft = Draft(
        f"What makes a purifier hold: one choice changed at a time, L∞ eps {budgets(context.scale)}",
        [CLEAN, *ATTACKS],
        notes=[
            "Each row changes one choice of the first; the classifier is the same. All of them are "
            "trained more briefly than the purifier that holds.",
        ],
    )
    for dataset, part in context.scale.holding.items():
        for name in part.ablations:
            models = partial(_ablated, context, dataset, name)
            add_row(draft, context, dataset, name, models, ATTACKS, eps=part.eps)
    return draft


def _ablated(context: ExperimentContext, dataset: str, name: str, seed: int) -> Defended:
    part = context.scale.holding[dataset]
    changes = changed(changed(part.purifier, part.briefly), part.ablations[name])
    if changes.get("purifier", {}).get("start") == "paper":
        # it is trained before it is begun with
        context.defended(dataset, seed=seed)
        start = context.place(dataset, "plain", seed) / "purifier.safetensors"
        changes = changed(changes, {"purifier": {"start": str(start)}})
    return context.behind(dataset, f"{HOLDING} {name}", changes, seed)
