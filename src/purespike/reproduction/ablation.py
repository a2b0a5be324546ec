"""The purifier's open choices, one changed at a time, all before the same classifier."""

from purespike.reproduction.measure import CLEAN, Attacks, columns_of, measure
from purespike.reproduction.sheet import Sheet
from purespike.reproduction.tables import BOTH, READING
from purespike.reproduction.workshop import TITLES, Unavailable, Workshop

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
        try:
            cells = measure(
                workshop,
                "cifar10",
                lambda seed, name=name: workshop.ablated("cifar10", name, seed),  # type: ignore[misc]
                ATTACKS,
                BOTH,
            )
        except Unavailable as error:
            sheet.missing(TITLES["cifar10"], method, str(error))
        else:
            sheet.add(TITLES["cifar10"], method, cells)
    return sheet
