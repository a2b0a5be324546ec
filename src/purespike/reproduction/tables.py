"""Tables 1 to 4, and the move of a purifier to another classifier (section 5.2.4)."""

from collections.abc import Callable, Mapping

from torch import nn

from purespike.models import Defended
from purespike.reproduction import paper
from purespike.reproduction.measure import CLEAN, Attacks, columns_of, measure
from purespike.reproduction.sheet import Cell, Column, Sheet
from purespike.reproduction.workshop import TITLES, Unavailable, Workshop

BOTH = ("alone", "adaptive")
READING = (
    "The paper attacks the classifier alone: undefended where a row has no purifier, oblivious where it "
    "has one. Beside it stands the adaptive attacker, who differentiates the whole, the worst case per "
    "image over surrogates and losses."
)

MNIST_ATTACKS: Attacks = {
    "FGSM": {"name": "fgsm"},
    "PGD": {"name": "pgd", "steps": 20, "step_size": 0.02},
}
WHITE_BOX: Attacks = {
    "Gaussian 20": {"name": "gaussian_noise"},
    "FGSM": {"name": "fgsm"},
    "I-FGSM": {"name": "ifgsm"},
    "MI-FGSM": {"name": "mifgsm"},
    "PGD": {"name": "pgd"},
    "C&W": {"name": "cw"},
}
TRANSFERRED: Attacks = {
    "FGSM": {"name": "fgsm"},
    **{f"PGD-{steps}": {"name": "pgd", "steps": steps} for steps in (5, 10, 20)},
}
ADVANCED: Attacks = {"APGD-CE": {"name": "apgd_ce"}, "AutoAttack": {"name": "autoattack"}}
BPDA: Attacks = {"BPDA20+EOT": {"name": "pgd", "steps": 20, "eot": 10}}
SUBSTITUTES = {"wideresnet": "WideResNet16-8-SNN", "resnet20": "ResNet20-SNN"}
LADDER = (0.6, 1.6, 2.6, 3.6)


def table1(workshop: Workshop) -> Sheet:
    """Robustness of multi-level firing: K = 1 to 4 thresholds, MNIST, eps 0.2."""
    sheet = Sheet(
        "table1",
        "Table 1: robustness of multi-level firing, ResNet14-SNN on MNIST, L∞ eps 0.2, no purifier",
        [CLEAN, *columns_of(MNIST_ATTACKS, BOTH)],
        notes=[READING, "The paper does not say how many steps its PGD takes; here 20 of 0.02."],
    )
    for count in (1, 2, 3, 4):

        def model(seed: int, variant: str = f"k{count}") -> nn.Module:
            return workshop.classifier("mnist", variant, seed)

        _measured(sheet, workshop, "mnist", f"K={count}", model, MNIST_ATTACKS, BOTH, eps="0.2")
        if count in paper.TABLE1:
            keys = [Column(title, "alone").key for title in MNIST_ATTACKS]
            printed = dict(zip(keys, paper.TABLE1[count], strict=True))
            sheet.printed(TITLES["mnist"], f"K={count}, paper", printed)
    return sheet


def table2(workshop: Workshop) -> Sheet:
    """White-box attacks on three data sets."""
    sheet = Sheet(
        "table2",
        "Table 2: white-box robustness, L∞ eps 8/255 (C&W: L2, no bound), 7 steps of 2/255",
        [CLEAN, *columns_of(WHITE_BOX, BOTH)],
        notes=[
            READING,
            "PGD starts at random here; from the image itself it would be I-FGSM once more.",
            "Quoted rows are printed in the paper and come from other networks and other attackers.",
        ],
    )
    keys = [CLEAN.key, "Gaussian 20|", *(Column(title, "alone").key for title in list(WHITE_BOX)[1:])]
    for dataset in ("cifar10", "cifar100", "svhn"):
        for method, model in _methods(workshop, dataset).items():
            _measured(sheet, workshop, dataset, method, model, WHITE_BOX, BOTH)
            if method in paper.TABLE2[dataset]:
                values = dict(zip(keys, paper.TABLE2[dataset][method], strict=True))
                sheet.printed(TITLES[dataset], f"{method}, paper", values)
        for method, figures in paper.TABLE2_QUOTED[dataset].items():
            quoted = {key: value for key, value in zip(keys, figures, strict=True) if value is not None}
            sheet.printed(TITLES[dataset], method, quoted, origin="quoted")
    return sheet


def table3(workshop: Workshop) -> Sheet:
    """Transfer from two substitutes, CIFAR-10."""
    attackers = ("transfer", "adaptive")
    sheet = Sheet(
        "table3",
        "Table 3: black-box robustness on CIFAR-10, L∞ eps 8/255, steps of 2/255",
        [CLEAN, *columns_of(TRANSFERRED, attackers)],
        notes=[
            "Images are made on a substitute that was trained on the defender's own training images, as in "
            "the paper, and sent to the defended model. Beside them the same attacks, adaptive: what an "
            "attacker reaches who has the model itself.",
        ],
    )
    methods: dict[str, Callable[[int], nn.Module]] = {
        "Ours": lambda seed: workshop.defended("cifar10", seed=seed),
        "OLS": lambda seed: workshop.classifier("cifar10", "ols", seed),
    }
    for variant, title in SUBSTITUTES.items():

        def sent(seed: int, variant: str = variant) -> dict[str, nn.Module]:
            return {variant: workshop.classifier("cifar10", variant, seed)}

        for method, model in methods.items():
            _measured(
                sheet,
                workshop,
                "cifar10",
                method,
                model,
                TRANSFERRED,
                attackers,
                substitutes=sent,
                group=f"from {title}",
            )
            keys = [Column(name, "transfer").key for name in TRANSFERRED]
            values = dict(zip(keys, paper.TABLE3[variant][method], strict=True))
            sheet.printed(f"from {title}", f"{method}, paper", values)
    return sheet


def table4(workshop: Workshop) -> Sheet:
    """APGD-CE, AutoAttack and BPDA with EOT."""
    sheet = Sheet(
        "table4",
        "Table 4: advanced attacks, L∞ eps 8/255",
        [CLEAN, *columns_of(ADVANCED, BOTH), *columns_of(BPDA, ("bpda", "adaptive"))],
        notes=[
            READING,
            "BPDA20+EOT is PGD-20 through the whole with the purifier taken as the identity backwards, "
            "gradients averaged over 10 passes.",
            "In the paper's SVHN row AutoAttack leaves more than APGD-CE, which is a part of it, and more "
            "than clean: no attack on the whole can.",
        ],
    )
    keys = ["APGD-CE|alone", "AutoAttack|alone", "BPDA20+EOT|bpda"]
    for dataset in ("cifar10", "cifar100", "svhn"):

        def model(seed: int, dataset: str = dataset) -> nn.Module:
            return workshop.defended(dataset, seed=seed)

        def cells(dataset: str = dataset) -> dict[str, Cell]:
            found = measure(workshop, dataset, model, ADVANCED, BOTH)
            return {**found, **measure(workshop, dataset, model, BPDA, ("bpda", "adaptive"))}

        _row(sheet, TITLES[dataset], "Ours", cells)
        sheet.printed(TITLES[dataset], "Ours, paper", dict(zip(keys, paper.TABLE4[dataset], strict=True)))
        for method, figures in paper.TABLE4_QUOTED[dataset].items():
            quoted = {key: value for key, value in zip(keys, figures, strict=True) if value is not None}
            sheet.printed(TITLES[dataset], method, quoted, origin="quoted")
    return sheet


def transfer(workshop: Workshop) -> Sheet:
    """The purifier of SENet18-SNN before ResNet20-SNN, CIFAR-10 (section 5.2.4)."""
    sheet = Sheet(
        "transfer",
        "Section 5.2.4: a purifier trained with SENet18-SNN put before ResNet20-SNN, CIFAR-10, L∞ eps 8/255",
        [CLEAN, *columns_of(WHITE_BOX, BOTH)],
        notes=[READING, 'The paper prints no figures here; it says "similar to the results in Table 2".'],
    )

    def moved(seed: int) -> nn.Module:
        purifier = workshop.defended("cifar10", seed=seed).purifier
        return Defended(purifier, workshop.classifier("cifar10", "resnet20", seed)).eval()

    methods: dict[str, Callable[[int], nn.Module]] = {
        "SENet18-SNN, its purifier": lambda seed: workshop.defended("cifar10", seed=seed),
        "ResNet20-SNN, no purifier": lambda seed: workshop.classifier("cifar10", "resnet20", seed),
        "ResNet20-SNN, that purifier": moved,
    }
    for method, model in methods.items():
        _measured(sheet, workshop, "cifar10", method, model, WHITE_BOX, BOTH)
    return sheet


def _methods(workshop: Workshop, dataset: str) -> Mapping[str, Callable[[int], nn.Module]]:
    """The rows of our own, those without a purifier first."""

    def bare(variant: str) -> Callable[[int], nn.Module]:
        return lambda seed: workshop.classifier(dataset, variant, seed)

    trained = {"fgsm_at": "FGSM-AT", "pgd_at": "PGD-AT", "trades": "TRADES"}
    return {
        "no defence": bare("plain"),
        "OLS": bare("ols"),
        **{title: bare(name) for name, title in trained.items() if name in workshop.scale.variants},
        "Ours": lambda seed: workshop.defended(dataset, seed=seed),
        "Ours + OLS": lambda seed: workshop.defended(dataset, "ols", seed),
    }


def _measured(
    sheet: Sheet,
    workshop: Workshop,
    dataset: str,
    method: str,
    model: Callable[[int], nn.Module],
    attacks: Attacks,
    attackers: tuple[str, ...],
    *,
    group: str = "",
    eps: str = "8/255",
    substitutes: Callable[[int], dict[str, nn.Module]] | None = None,
) -> None:
    def cells() -> dict[str, Cell]:
        return measure(workshop, dataset, model, attacks, attackers, eps=eps, substitutes=substitutes)

    _row(sheet, group or TITLES[dataset], method, cells)


def _row(sheet: Sheet, group: str, method: str, cells: Callable[[], dict[str, Cell]]) -> None:
    try:
        sheet.add(group, method, cells())
    except Unavailable as error:
        sheet.missing(group, method, str(error))
