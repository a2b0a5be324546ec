"""Numbers of one table against each other; the paper's own tables contradict themselves."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from purespike.evaluation.finding import Limits
from purespike.evaluation.invariants import Measured, check_table

EPS = 8 / 255

# arXiv 2404.17092, Tables 2 and 4, rows "Ours": clean, FGSM, I-FGSM, MI-FGSM, PGD, APGD-CE, AutoAttack
PAPER = {
    "SVHN": (89.98, 82.96, 89.97, 84.46, 88.35, 89.03, 90.58),
    "CIFAR-10": (89.05, 75.63, 70.71, 66.43, 74.16, 71.03, 71.48),
    "CIFAR-100": (66.98, 43.14, 42.89, 37.52, 46.04, 43.21, 43.07),
}
# quoted there from others: AutoAttack below APGD-CE, as it must be
OTHERS = {
    "SVHN, Conversion-SNN": (31.04, 27.65),
    "CIFAR-10, Conversion-SNN": (51.65, 45.05),
    "CIFAR-100, Conversion-SNN": (13.26, 11.04),
}


def row(attack, percent, *, threat="oblivious", eps=EPS, steps=1):
    return Measured(attack, threat, percent / 100, None if attack == "clean" else eps, steps)


def paper(name):
    clean, fgsm, ifgsm, mifgsm, pgd, apgd, suite = PAPER[name]
    return [
        row("clean", clean),
        row("fgsm", fgsm),
        *(
            row(attack, value, steps=7)
            for attack, value in (("ifgsm", ifgsm), ("mifgsm", mifgsm), ("pgd", pgd))
        ),
        row("apgd_ce", apgd, steps=100),
        row("autoattack", suite, steps=100),
    ]


def broken(rows, **limits):
    """Name of the rule, and who broke it against whom."""
    found = check_table(rows, Limits(**limits))
    return {(f.name, f.level, f.seen.split(",")[0], f.seen.split(" than ")[-1].split(",")[0]) for f in found}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "SVHN",
            {
                ("an attack cannot raise accuracy", "unreliable", "autoattack", "clean"),
                ("a suite is at least as strong as its parts", "unreliable", "autoattack", "apgd_ce"),
            },
        ),
        ("CIFAR-10", {("a suite is at least as strong as its parts", "unreliable", "autoattack", "apgd_ce")}),
    ],
)
def test_the_paper_s_tables_break_what_must_hold(name, expected):
    found = broken(paper(name))
    exact = {
        (rule, level, *(who.split("-")[0].split(" at ")[0] for who in pair)) for rule, level, *pair in found
    }
    assert {entry for entry in exact if entry[1] == "unreliable"} == expected


def test_the_paper_s_stronger_attacks_are_weaker():
    for name in PAPER:
        suspicious = [finding for finding in check_table(paper(name)) if finding.level == "suspicious"]
        # APGD leaves more than MI-FGSM in all three
        assert any("apgd_ce" in f.seen and "mifgsm" in f.seen for f in suspicious)


@pytest.mark.parametrize("name", OTHERS)
def test_what_holds_is_not_flagged(name):
    apgd, suite = OTHERS[name]
    (finding,) = check_table([row("apgd_ce", apgd), row("autoattack", suite)])
    assert finding.level == "reliable"


SOUND = [
    row("clean", 90, threat="adaptive"),
    row("clean", 90),
    row("gaussian_noise", 85, eps=EPS),
    row("fgsm", 60, threat="adaptive"),
    row("pgd", 50, threat="adaptive", steps=10),
    row("pgd", 48, threat="adaptive", steps=50),
    row("pgd", 75, steps=10),
    row("pgd", 55, threat="bpda", steps=10),
    row("pgd", 30, threat="adaptive", steps=10, eps=16 / 255),
    row("pgd", 0, threat="adaptive", steps=10, eps=0.5),
]


def test_a_sound_table():
    (finding,) = check_table(SOUND)
    assert finding.level == "reliable" and "10 numbers" in finding.seen


@pytest.mark.parametrize(
    ("index", "percent", "rule", "level"),
    [
        (3, 90.5, "an attack cannot raise accuracy", "unreliable"),
        (4, 62, "an iterated attack is at least as strong", "suspicious"),
        (5, 52, "more steps are at least as strong", "suspicious"),
        (6, 48, "who knows more breaks more", "suspicious"),
        (7, 40, "who knows more breaks more", "suspicious"),
        (8, 52, "a larger budget breaks more", "suspicious"),
        (9, 4, "a budget of half the range breaks everything", "unreliable"),
        (6, 87, "an attack is stronger than noise", "suspicious"),
    ],
)
def test_each_rule(index, percent, rule, level):
    rows = list(SOUND)
    old = rows[index]
    rows[index] = Measured(old.attack, old.threat, percent / 100, old.eps, old.steps)
    assert (rule, level) in {(finding.name, finding.level) for finding in check_table(rows)}


def test_a_point_is_forgiven_where_it_may_be_chance():
    rows = [row("pgd", 50, steps=10), row("pgd", 50.9, steps=20)]
    assert check_table(rows)[0].level == "reliable"
    assert check_table(rows, Limits(gain=0.005))[0].level == "suspicious"
    # but not where one contains the other
    assert check_table([row("apgd_ce", 50), row("autoattack", 50.01)])[0].level == "unreliable"


def test_weak_noise_only_is_compared():
    noise = row("gaussian_noise", 40, eps=20 / 255)
    assert check_table([noise, row("pgd", 60, eps=EPS, steps=7)])[0].level == "reliable"
    assert check_table([noise, row("pgd", 60, eps=20 / 255, steps=7)])[0].level == "suspicious"


@given(st.permutations(SOUND))
def test_order_does_not_matter(rows):
    assert check_table(rows)[0].level == "reliable"
