"""Figure 5: accuracy over the steps and the size of PGD, four curves and two attackers each."""

from collections.abc import Callable
from functools import partial

from torch import nn

from purespike.reproduction import paper
from purespike.reproduction.measure import Attacks, measure, unless_missing
from purespike.reproduction.sheet import Cell, Column, Sheet
from purespike.reproduction.workshop import TITLES, Workshop

STEPS = (5, 10, 20, 30, 40, 50)
SIZES = (1, 2, 4, 8, 16)
# enough of them to reach 16/255 in steps of 2/255
FIXED = 10
BY_STEPS: Attacks = {f"{steps} steps": {"name": "pgd", "steps": steps} for steps in STEPS}
BY_SIZE: Attacks = {
    f"eps {size}/255": {"name": "pgd", "steps": FIXED, "step_size": 2 / 255, "eps": f"{size}/255"}
    for size in SIZES
}


def fig5(workshop: Workshop) -> Sheet:
    """PGD of 5 to 50 steps at eps 8/255, and at eps 1/255 to 16/255."""
    sheet = Sheet(
        "fig5",
        f"Figure 5: stronger PGD, steps of 2/255; by steps at L∞ eps 8/255, by size with {FIXED} steps",
        [Column(title) for title in (*BY_STEPS, *BY_SIZE)],
        kind="curves",
        notes=[
            "Each curve stands twice: the paper's attacker of the classifier alone (undefended, or oblivious "
            "where there is a purifier), and adaptive, through the whole.",
            "The paper does not say how many steps its right-hand panels take.",
        ],
    )
    for dataset in ("cifar10", "cifar100", "svhn"):
        methods: dict[str, Callable[[int], nn.Module]] = {
            "Baseline": partial(workshop.classifier, dataset, "plain"),
            "OLS": partial(workshop.classifier, dataset, "ols"),
            "Ours": partial(workshop.defended, dataset, "plain"),
            "Ours + OLS": partial(workshop.defended, dataset, "ols"),
        }
        for method, model in methods.items():
            with unless_missing(sheet, TITLES[dataset], method):
                found = measure(workshop, dataset, model, {**BY_STEPS, **BY_SIZE}, ("alone", "adaptive"))
                for attacker in ("alone", "adaptive"):
                    cells = _of(found, attacker)
                    (threat,) = {cell.threat for cell in cells.values()}
                    sheet.add(TITLES[dataset], f"{method}, {threat}", cells)
        printed = {f"eps {size}/255|": value for size, value in paper.FIGURE5.get(dataset, {}).items()}
        if printed:
            sheet.printed(TITLES[dataset], "Ours, paper (from its text)", printed)
    return sheet


def _of(found: dict[str, Cell], attacker: str) -> dict[str, Cell]:
    """The cells of one attacker, by the title of their column."""
    titles = {Column(title, attacker).key: Column(title).key for title in (*BY_STEPS, *BY_SIZE)}
    return {titles[key]: cell for key, cell in found.items() if key in titles}
