"""Tables 1 to 4, and the move of a purifier to another classifier (section 5.2.4)."""

from collections.abc import Callable, Mapping
from functools import partial

from torch import nn

from purespike.models import Defended
from purespike.reproduction import paper
from purespike.reproduction.measure import CLEAN, Attacks, add_row, columns_of, measure, unless_missing
from purespike.reproduction.sheet import Column, Sheet
from purespike.reproduction.workshop import TITLES, Workshop

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


def table1(workshop: Workshop) -> Sheet:
    """Robustness of multi-level firing: K = 1 to 4 thresholds, MNIST, eps 0.2."""
    sheet = Sheet(
        "table1",
        "Table 1: robustness of multi-level firing, ResNet14-SNN on MNIST, L∞ eps 0.2, no purifier",
        [CLEAN, *columns_of(MNIST_ATTACKS, BOTH)],
        notes=[READING, "The paper does not say how many steps its PGD takes; here 20 of 0.02."],
    )
    for count in (1, 2, 3, 4):
        model = partial(workshop.classifier, "mnist", f"k{count}")
        add_row(sheet, workshop, "mnist", f"K={count}", model, MNIST_ATTACKS, BOTH, eps="0.2")
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
            add_row(sheet, workshop, dataset, method, model, WHITE_BOX, BOTH)
            if method in paper.TABLE2[dataset]:
                values = dict(zip(keys, paper.TABLE2[dataset][method], strict=True))
                sheet.printed(TITLES[dataset], f"{method}, paper", values)
        for method, figures in paper.TABLE2_QUOTED[dataset].items():
            sheet.printed(TITLES[dataset], method, dict(zip(keys, figures, strict=True)), origin="quoted")
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
        "Ours": partial(workshop.defended, "cifar10", "plain"),
        "OLS": partial(workshop.classifier, "cifar10", "ols"),
    }
    for variant, title in SUBSTITUTES.items():

        def sent(seed: int, variant: str = variant) -> dict[str, nn.Module]:
            return {variant: workshop.classifier("cifar10", variant, seed)}

        for method, model in methods.items():
            add_row(
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
        model = partial(workshop.defended, dataset, "plain")
        with unless_missing(sheet, TITLES[dataset], "Ours"):
            cells = measure(workshop, dataset, model, ADVANCED, BOTH)
            cells |= measure(workshop, dataset, model, BPDA, ("bpda", "adaptive"))
            sheet.add(TITLES[dataset], "Ours", cells)
        sheet.printed(TITLES[dataset], "Ours, paper", dict(zip(keys, paper.TABLE4[dataset], strict=True)))
        for method, figures in paper.TABLE4_QUOTED[dataset].items():
            sheet.printed(TITLES[dataset], method, dict(zip(keys, figures, strict=True)), origin="quoted")
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
        "SENet18-SNN, its purifier": partial(workshop.defended, "cifar10", "plain"),
        "ResNet20-SNN, no purifier": partial(workshop.classifier, "cifar10", "resnet20"),
        "ResNet20-SNN, that purifier": moved,
    }
    for method, model in methods.items():
        add_row(sheet, workshop, "cifar10", method, model, WHITE_BOX, BOTH)
    return sheet


def _methods(workshop: Workshop, dataset: str) -> Mapping[str, Callable[[int], nn.Module]]:
    """The rows of our own, those without a purifier first."""

    def bare(variant: str) -> Callable[[int], nn.Module]:
        return partial(workshop.classifier, dataset, variant)

    trained = {"fgsm_at": "FGSM-AT", "pgd_at": "PGD-AT", "trades": "TRADES"}
    return {
        "no defence": bare("plain"),
        "OLS": bare("ols"),
        **{title: bare(name) for name, title in trained.items() if name in workshop.scale.variants},
        "Ours": partial(workshop.defended, dataset, "plain"),
        "Ours + OLS": partial(workshop.defended, dataset, "ols"),
    }
