"""Table 3: transfer from two substitutes, CIFAR-10."""

from functools import partial

from torch import nn

from purespike.reproduction import paper
from purespike.reproduction.context import ExperimentContext
from purespike.reproduction.draft import Draft
from purespike.reproduction.registry import experiment
from purespike.reproduction.row import CLEAN, Models, add_row, by_attacker

ATTACKS = by_attacker(
    {
        "FGSM": {"name": "fgsm"},
        **{f"PGD-{steps}": {"name": "pgd", "steps": steps} for steps in (5, 10, 20)},
    },
    ("transfer", "adaptive"),
)
PRINTED = [column for column in ATTACKS if column.attacker == "transfer"]
SUBSTITUTES = {"wideresnet": "WideResNet16-8-SNN", "resnet20": "ResNet20-SNN"}


@experiment("table3", order=3, choice=True)
def table3(context: ExperimentContext) -> Draft:
    """Images of a substitute, and the same attacks adaptive."""
    draft = Draft(
        "table3",
        "Table 3: black-box robustness on CIFAR-10, L∞ eps 8/255, steps of 2/255",
        [CLEAN, *ATTACKS],
        notes=[
            "Images are made on a substitute that was trained on the defender's own training images, as in "
            "the paper, and sent to the defended model. Beside them the same attacks, adaptive: an "
            "attacker who has the model itself.",
        ],
    )
    methods: dict[str, tuple[Models, str]] = {
        "Ours": (partial(context.defended, "cifar10", "plain"), "plain"),
        "OLS": (partial(context.classifier, "cifar10", "ols"), "ols"),
    }
    draft.choose(context.rows, list(methods))
    for variant, title in SUBSTITUTES.items():

        def sent(seed: int, variant: str = variant) -> dict[str, nn.Module]:
            return {variant: context.classifier("cifar10", variant, seed)}

        group = f"from {title}"
        for method, (models, own) in methods.items():
            add_row(
                draft,
                context,
                "cifar10",
                method,
                models,
                ATTACKS,
                recipes=[context.recipe("cifar10", each) for each in (own, variant)],
                substitutes=sent,
                group=group,
            )
            draft.printed(group, f"{method}, paper", PRINTED, paper.TABLE3[variant][method])
    return draft
