"""Table 1: robustness of multi-level firing, without a purifier."""

from functools import partial

from purespike.reproduction import paper
from purespike.reproduction.attackers import BOTH, READING
from purespike.reproduction.context import ExperimentContext
from purespike.reproduction.draft import Draft
from purespike.reproduction.registry import experiment
from purespike.reproduction.row import CLEAN, add_row, by_attacker
from purespike.reproduction.scale import TITLES

ATTACKS = by_attacker(
    {"FGSM": {"name": "fgsm"}, "PGD": {"name": "pgd", "steps": 20, "step_size": 0.02}}, BOTH
)
PRINTED = [column for column in ATTACKS if column.attacker == "alone"]
COUNTS = (1, 2, 3, 4)


@experiment("table1", order=1, choice=True)
def table1(context: ExperimentContext) -> Draft:
    """K = 1 to 4 thresholds, MNIST, eps 0.2."""
    draft = Draft(
        "table1",
        "Table 1: robustness of multi-level firing, ResNet14-SNN on MNIST, L∞ eps 0.2, no purifier",
        [CLEAN, *ATTACKS],
        notes=[READING, "The paper does not say how many steps its PGD takes; here 20 of 0.02."],
    )
    draft.choose(context.rows, [f"K={count}" for count in COUNTS])
    for count in COUNTS:
        variant = f"k{count}"
        add_row(
            draft,
            context,
            "mnist",
            f"K={count}",
            partial(context.classifier, "mnist", variant),
            ATTACKS,
            recipes=[context.recipe("mnist", variant)],
            eps="0.2",
        )
        if count in paper.TABLE1:
            draft.printed(TITLES["mnist"], f"K={count}, paper", PRINTED, paper.TABLE1[count])
    return draft
