"""The purifier's open choices, one changed at a time, all before the same classifier."""

from functools import partial

from purespike.reproduction.measure import CLEAN, Attacks, add_row, columns_of
from purespike.reproduction.sheet import Sheet
from purespike.reproduction.tables import BOTH, READING
from purespike.reproduction.workshop import Workshop

ATTACKS: Attacks = {
    "Gaussian 20": {"name": "gaussian_noise"},
    "FGSM": {"name": "fgsm"},
    "PGD": {"name": "pgd"},
    "PGD-20": {"name": "pgd", "steps": 20},
}


def ablation(workshop: Workshop) -> Sheet:
    """Thresholds, noise level, share of clean images, β and its switch, CIFAR-10."""
    sheet = Sheet(
        "ablation",
        "What the paper leaves open in the purifier, CIFAR-10, L∞ eps 8/255",
        [CLEAN, *columns_of(ATTACKS, BOTH)],
        notes=[READING, "Each row changes one choice of the first; the classifier is the same."],
    )
    for name, changes in workshop.scale.ablations.items():
        method = name if changes else f"{name} (the scale's own)"
        add_row(sheet, workshop, "cifar10", method, partial(workshop.ablated, "cifar10", name), ATTACKS, BOTH)
    return sheet
