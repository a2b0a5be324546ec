"""Section 5.2.4: the purifier of one classifier before another."""

from functools import partial

from torch import nn

from purespike.models import Defended
from purespike.reproduction.attackers import READING
from purespike.reproduction.context import ExperimentContext
from purespike.reproduction.draft import Draft
from purespike.reproduction.experiments.table2 import WHITE_BOX
from purespike.reproduction.registry import experiment
from purespike.reproduction.row import CLEAN, Models, add_row


@experiment("transfer", order=8, choice=True)
def transfer(context: ExperimentContext) -> Draft:
    """The purifier of SENet18-SNN before ResNet20-SNN, CIFAR-10."""
    draft = Draft(
        "transfer",
        "Section 5.2.4: a purifier trained with SENet18-SNN put before ResNet20-SNN, CIFAR-10, L∞ eps 8/255",
        [CLEAN, *WHITE_BOX],
        notes=[READING, 'The paper prints no figures here; it says "similar to the results in Table 2".'],
    )

    def moved(seed: int) -> nn.Module:
        purifier = context.defended("cifar10", seed=seed).purifier
        return Defended(purifier, context.classifier("cifar10", "resnet20", seed)).eval()

    methods: dict[str, tuple[Models, list[str]]] = {
        "SENet18-SNN, its purifier": (partial(context.defended, "cifar10", "plain"), ["plain"]),
        "ResNet20-SNN, no purifier": (partial(context.classifier, "cifar10", "resnet20"), ["resnet20"]),
        "ResNet20-SNN, that purifier": (moved, ["plain", "resnet20"]),
    }
    draft.choose(context.rows, list(methods))
    for method, (models, variants) in methods.items():
        recipes = [context.recipe("cifar10", variant) for variant in variants]
        add_row(draft, context, "cifar10", method, models, WHITE_BOX, recipes=recipes)
    return draft
