"""Numbers of one table against each other; the paper's own tables contradict themselves."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from purespike.evaluation.diagnostics.invariants import Measured, check_table, compare
from purespike.settings import Thresholds

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


def row(attack, percent, *, threat="adaptive", eps=EPS, steps=1):
    return Measured(attack, threat, percent / 100, None if attack == "clean" else eps, steps)


def paper(name):
    """The paper calls its attacks white-box; as such they are judged."""
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


def broken(rows, **thresholds):
    """Name of the rule, and who broke it against whom."""
    pairs = [(f, f.message.split(" than ")) for f in check_table(rows, Thresholds(**thresholds))]
    return {(f.name, f.level, parts[0].split(",")[0], parts[-1].split(",")[0]) for f, parts in pairs}


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
        assert any("apgd_ce" in f.message and "mifgsm" in f.message for f in suspicious)


@pytest.mark.parametrize("name", OTHERS)
def test_what_holds_is_not_flagged(name):
    apgd, suite = OTHERS[name]
    (finding,) = check_table([row("apgd_ce", apgd), row("autoattack", suite)])
    assert finding.level == "reliable"


SOUND = [
    row("clean", 90),
    row("clean", 90, threat="oblivious"),
    row("gaussian_noise", 85, eps=EPS, threat="oblivious"),
    row("fgsm", 60),
    row("pgd", 50, steps=10),
    row("pgd", 48, steps=50),
    row("pgd", 75, steps=10, threat="oblivious"),
    row("pgd", 55, threat="bpda", steps=10),
    row("pgd", 30, steps=10, eps=16 / 255),
    row("pgd", 0, steps=10, eps=0.5),
]


def test_a_sound_table():
    (finding,) = check_table(SOUND)
    assert finding.level == "reliable" and "10 numbers" in finding.message


@pytest.mark.parametrize("threat", ["oblivious", "transfer"])
def test_images_that_are_sent_are_not_ordered_by_the_attack_that_made_them(threat):
    weak, strong = row("fgsm", 40, threat=threat), row("apgd_ce", 70, threat=threat, steps=100)
    longer = row("apgd_ce", 75, threat=threat, steps=200)
    assert check_table([weak, strong, longer])[0].level == "reliable"
    # what holds whoever is judged is still asked
    above = row("autoattack", 80, threat=threat, steps=100)
    assert check_table([strong, above])[0].level == "unreliable"


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
    assert check_table(rows, Thresholds(gain=0.005))[0].level == "suspicious"
    # but not where one contains the other
    assert check_table([row("apgd_ce", 50), row("autoattack", 50.01)])[0].level == "unreliable"


def paired(attack, outcomes, **settings):
    threat, eps = settings.pop("threat", "adaptive"), None if attack == "clean" else settings.pop("eps", EPS)
    return Measured(attack, threat, sum(outcomes) / len(outcomes), eps, outcomes=tuple(outcomes), **settings)


def images(count, *robust):
    """Outcomes of ``count`` images, of which those given are robust."""
    return [int(row in robust) for row in range(count)]


def flagged(*rows, **thresholds):
    return {(f.name, f.level) for f in check_table(rows, Thresholds(**thresholds)) if f.level != "reliable"}


@pytest.mark.parametrize(("left", "gained"), [(4, 0), (5, 0), (5, 1), (8, 1), (9, 4), (20, 2), (0, 6)])
def test_disagreement_is_judged_by_a_sign_test(left, gained):
    stronger = images(100, *range(left))
    weaker = images(100, *range(50, 50 + gained))
    total = left + gained
    # written out: as many or more heads of a fair coin
    chance = sum(math.comb(total, k) for k in range(left, total + 1)) / 2**total
    assert compare(stronger, weaker) == (left, gained, pytest.approx(chance if left else 1))
    rule = ("more steps are at least as strong", "suspicious")
    found = flagged(paired("pgd", stronger, steps=50), paired("pgd", weaker, steps=10))
    assert (rule in found) == (left - gained > 1 and chance <= 0.05)


def test_one_image_of_forty_is_no_contradiction():
    few = paired("pgd", images(40, 0), steps=50), paired("pgd", images(40), steps=10)
    assert not flagged(*few), "2.5 points, but one image"
    assert flagged(*(Measured(row.attack, row.threat, row.accuracy, row.eps, row.steps) for row in few))


@pytest.mark.parametrize(("restarts", "compared"), [(1, True), (2, False)])
def test_a_better_method_need_not_make_up_for_fewer_steps(restarts, compared):
    left, broken = images(24, *range(9)), images(24, 0, 1)
    found = flagged(paired("apgd_dlr", left, steps=100), paired("pgd", broken, steps=100, restarts=restarts))
    assert found == ({("an iterated attack is at least as strong", "suspicious")} if compared else set())
    # a suite does
    assert flagged(paired("autoattack", left, steps=100), paired("pgd", broken, steps=100, restarts=5))


def test_equal_numbers_can_hide_that_images_rose_from_the_dead():
    clean, attacked = paired("clean", images(10, 0, 1)), paired("pgd", images(10, 1, 2))
    assert clean.accuracy == attacked.accuracy
    assert flagged(clean, attacked) == {("an attack cannot raise accuracy", "unreliable")}
    assert not flagged(clean, paired("pgd", images(10, 1)))


def test_a_suite_may_miss_one_image_by_other_draws():
    part = paired("apgd_ce", images(20))
    rule = ("a suite is at least as strong as its parts", "unreliable")
    assert not flagged(part, paired("autoattack", images(20, 3)))
    assert rule in flagged(part, paired("autoattack", images(20, 3, 4)))


@pytest.mark.parametrize(
    ("stronger", "weaker", "rule", "level"),
    [
        (
            {"attack": "worst_case"},
            {"attack": "fgsm"},
            "the worst case is no better than any attack",
            "unreliable",
        ),
        (
            {"attack": "pgd", "steps": 40, "raised_from": 20},
            {"attack": "pgd", "steps": 20},
            "a raised budget keeps what was broken",
            "unreliable",
        ),
        (
            {"attack": "pgd", "steps": 20, "restarts": 4},
            {"attack": "pgd", "steps": 20},
            "more random starts are at least as strong",
            "suspicious",
        ),
        (
            {"attack": "sa_pgd", "steps": 20},
            {"attack": "fgsm"},
            "an iterated attack is at least as strong",
            "suspicious",
        ),
        *(
            (
                {"attack": "pgd", "steps": 20},
                {"attack": query, "threat": "query"},
                "gradients are at least as strong as queries",
                "suspicious",
            )
            for query in ("square", "spsa")
        ),
        (
            {"attack": "pgd", "steps": 20},
            {"attack": "pgd", "steps": 20, "threat": "transfer"},
            "who knows more breaks more",
            "suspicious",
        ),
        (
            {"attack": "pgd", "norm": "l2", "eps": 1.0},
            {"attack": "gaussian_noise", "norm": "l2", "eps": 0.9},
            "an attack is stronger than noise",
            "suspicious",
        ),
    ],
)
def test_each_rule_on_images(stronger, weaker, rule, level):
    more, fewer = images(20, *range(8)), images(20, 0)
    assert (rule, level) in flagged(paired(outcomes=more, **stronger), paired(outcomes=fewer, **weaker))
    assert not flagged(paired(outcomes=fewer, **stronger), paired(outcomes=more, **weaker))


def test_what_cannot_be_compared_is_not():
    more, fewer = images(20, *range(8)), images(20)
    pgd = paired("pgd", more, steps=50)
    for other in (
        paired("pgd", fewer, steps=10, norm="l2"),
        paired("pgd", fewer, steps=10, restarts=5),
        paired("fab", fewer),
        paired("gaussian_noise", fewer, eps=2 * EPS),
        paired("square", fewer, threat="undefended"),
        paired("cw", fewer, eps=None),
    ):
        assert not flagged(pgd, other), other


def test_weak_noise_only_is_compared():
    noise = row("gaussian_noise", 40, eps=20 / 255)
    assert check_table([noise, row("pgd", 60, eps=EPS, steps=7)])[0].level == "reliable"
    assert check_table([noise, row("pgd", 60, eps=20 / 255, steps=7)])[0].level == "suspicious"


@given(st.permutations(SOUND))
def test_order_does_not_matter(rows):
    assert check_table(rows)[0].level == "reliable"
