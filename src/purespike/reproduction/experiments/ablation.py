"""Choices that the paper leaves open in the purifier, changed one at a time before the same classifier."""

from functools import partial

from purespike.reproduction.attackers import BOTH, READING
from purespike.reproduction.context import ExperimentContext
from purespike.reproduction.draft import Draft
from purespike.reproduction.registry import experiment
from purespike.reproduction.row import CLEAN, Attacks, add_row, by_attacker
from purespike.reproduction.sheet import Column

ATTACKS: Attacks = {
    Column("Gaussian 20"): {"name": "gaussian_noise"},
    **by_attacker(
        {"FGSM": {"name": "fgsm"}, "PGD": {"name": "pgd"}, "PGD-20": {"name": "pgd", "steps": 20}}, BOTH
    ),
}


@experiment("ablation", order=9, choice=True)
def ablation(context: ExperimentContext) -> Draft:
    """Thresholds, noise level, share of clean images, β and its switch, CIFAR-10."""
    draft = Draft(
        "ablation",
        "What the paper leaves open in the purifier, CIFAR-10, L∞ eps 8/255",
        [CLEAN, *ATTACKS],
        notes=[READING, "Each row changes one choice of the first; the classifier is the same."],
    )
    methods = {
        name if changes else f"{name} (the scale's own)": (name, changes)
        for name, changes in context.scale.ablations.items()
    }
    draft.choose(context.rows, list(methods))
    for method, (name, changes) in methods.items():
        models = partial(context.ablated, "cifar10", name)
        recipes = [context.run("cifar10", name, 0, changes).recipe]
        add_row(draft, context, "cifar10", method, models, ATTACKS, recipes=recipes)
    return draft
