"""Table 2: white-box attacks on three data sets."""

from collections.abc import Callable
from functools import partial

from torch import nn

from purespike.reproduction import paper
from purespike.reproduction.attackers import BOTH, READING
from purespike.reproduction.context import ExperimentContext
from purespike.reproduction.draft import Draft
from purespike.reproduction.registry import experiment
from purespike.reproduction.row import CLEAN, Attacks, Models, add_row, by_attacker
from purespike.reproduction.scale import COLOURED, TITLES
from purespike.reproduction.sheet import Column

WHITE_BOX: Attacks = {
    Column("Gaussian 20"): {"name": "gaussian_noise"},
    **by_attacker(
        {
            "FGSM": {"name": "fgsm"},
            "I-FGSM": {"name": "ifgsm"},
            "MI-FGSM": {"name": "mifgsm"},
            "PGD": {"name": "pgd"},
            "C&W": {"name": "cw"},
        },
        BOTH,
    ),
}
PRINTED = [CLEAN, *(column for column in WHITE_BOX if column.attacker != "adaptive")]
TRAINED = {"fgsm_at": "FGSM-AT", "pgd_at": "PGD-AT", "trades": "TRADES"}


@experiment("table2", order=2, choice=True)
def table2(context: ExperimentContext) -> Draft:
    """Classifiers without a purifier, then with one."""
    draft = Draft(
        "table2",
        "Table 2: white-box robustness, L∞ eps 8/255 (C&W: L2, no bound), 7 steps of 2/255",
        [CLEAN, *WHITE_BOX],
        notes=[
            READING,
            "PGD starts at random here; from the image itself it would be I-FGSM once more.",
            "Quoted rows are printed in the paper and come from other networks and other attackers.",
        ],
    )
    draft.choose(context.rows, list(_methods(context, COLOURED[0])))
    for dataset in COLOURED:
        for method, (models, variant) in _methods(context, dataset).items():
            recipes = [context.recipe(dataset, variant)]
            add_row(draft, context, dataset, method, models, WHITE_BOX, recipes=recipes)
            if method in paper.TABLE2[dataset]:
                draft.printed(TITLES[dataset], f"{method}, paper", PRINTED, paper.TABLE2[dataset][method])
        for method, values in paper.TABLE2_QUOTED[dataset].items():
            draft.printed(TITLES[dataset], method, PRINTED, values, origin="quoted")
    return draft


def _methods(context: ExperimentContext, dataset: str) -> dict[str, tuple[Models, str]]:
    """Models of each row, and the variant that they are."""
    trained = {title: name for name, title in TRAINED.items() if name in context.scale.variants}
    ways: dict[str, tuple[Callable[..., nn.Module], str]] = {
        "no defence": (context.classifier, "plain"),
        "OLS": (context.classifier, "ols"),
        **{title: (context.classifier, variant) for title, variant in trained.items()},
        "Ours": (context.defended, "plain"),
        "Ours + OLS": (context.defended, "ols"),
    }
    return {title: (partial(make, dataset, variant), variant) for title, (make, variant) in ways.items()}
