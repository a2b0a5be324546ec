"""Figure 5: accuracy over the steps and the budget of PGD, four curves and two attackers each."""

from functools import partial

from purespike.reproduction import paper
from purespike.reproduction.attackers import BOTH
from purespike.reproduction.context import ExperimentContext
from purespike.reproduction.draft import Draft
from purespike.reproduction.registry import experiment
from purespike.reproduction.row import Models, by_attacker, measure_row
from purespike.reproduction.scale import COLOURED, TITLES
from purespike.reproduction.sheet import Column

STEPS = (5, 10, 20, 30, 40, 50)
SIZES = (1, 2, 4, 8, 16)
# enough of them to reach 16/255 in steps of 2/255
FIXED = 10
PGD = {
    **{f"{steps} steps": {"name": "pgd", "steps": steps} for steps in STEPS},
    **{
        f"eps {size}/255": {"name": "pgd", "steps": FIXED, "step_size": 2 / 255, "eps": f"{size}/255"}
        for size in SIZES
    },
}


@experiment("fig5", order=7)
def fig5(context: ExperimentContext) -> Draft:
    """PGD of 5 to 50 steps at eps 8/255, and at eps 1/255 to 16/255."""
    draft = Draft(
        "fig5",
        f"Figure 5: stronger PGD, steps of 2/255; by steps at L∞ eps 8/255, by size with {FIXED} steps",
        [Column(title) for title in PGD],
        kind="curves",
        notes=[
            "Two curves per method: the paper's attacker of the classifier alone (undefended, or oblivious "
            "where there is a purifier), and the adaptive one, end to end.",
            "The paper does not say how many steps its right-hand panels take.",
        ],
    )
    for dataset in COLOURED:
        methods: dict[str, Models] = {
            "Baseline": partial(context.classifier, dataset, "plain"),
            "OLS": partial(context.classifier, dataset, "ols"),
            "Ours": partial(context.defended, dataset, "plain"),
            "Ours + OLS": partial(context.defended, dataset, "ols"),
        }
        for method, model in methods.items():
            with draft.unless_missing(TITLES[dataset], method):
                found = measure_row(context, dataset, model, by_attacker(PGD, BOTH))
                for attacker in BOTH:
                    # the row names the threat model, hence the columns need no attacker
                    cells = {Column(c.title): cell for c, cell in found.items() if c.attacker == attacker}
                    (threat,) = {cell.threat for cell in cells.values()}
                    draft.measured(TITLES[dataset], f"{method}, {threat}", cells)
        if printed := paper.FIGURE5.get(dataset):
            columns = [Column(f"eps {size}/255") for size in printed]
            draft.printed(TITLES[dataset], "Ours, paper (from its text)", columns, [*printed.values()])
    return draft
