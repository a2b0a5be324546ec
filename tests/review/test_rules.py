"""Rules of a review as properties: tables in which stronger attacks break more are left alone."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from purespike.review import Entry, Row, review

EPS = 8 / 255


def row(*entries, clean=0.9, **about):
    return Row(name="a", clean=clean, entries=entries, **{"training": "adversarial", **about})


def pgd(accuracy, **about):
    return Entry(attack="pgd", accuracy=accuracy, **{"eps": EPS, "steps": 20, **about})


def names(*entries, **about):
    (found,) = review([row(*entries, **about)]).rows
    return {finding.name for finding in found.findings}


@given(
    clean=st.floats(0.5, 1),
    drops=st.lists(st.floats(0.011, 0.019), min_size=4, max_size=4),
    gap=st.floats(0, 0.1),
)
def test_a_table_that_falls_with_strength_is_not_flagged(clean, drops, gap):
    fgsm = clean - 0.1 - gap
    first = fgsm - drops[0]
    entries = [
        Entry(attack="fgsm", accuracy=fgsm, eps=EPS),
        pgd(first, steps=10),
        pgd(first - drops[1], steps=100),
        Entry(attack="autoattack", accuracy=first - drops[1] - drops[2], eps=EPS),
        Entry(attack="square", accuracy=fgsm, eps=EPS, threat="query"),
    ]
    assert names(*entries, clean=clean) == set()


def test_a_short_run_beside_a_longer_one_that_a_suite_confirms_is_not_flagged():
    """The network of Madry et al. 2018 in their own numbers, and AutoAttack of Croce & Hein."""
    madry = [
        Entry(attack="fgsm", accuracy=0.561, eps=EPS),
        pgd(0.50, steps=7),
        pgd(0.458, steps=20),
        Entry(attack="autoattack", accuracy=0.4404, eps=EPS),
    ]
    assert names(*madry, clean=0.873) == set()
    assert names(*madry[:3], clean=0.873) == {"not converged"}
    assert names(*madry[:2], madry[3], clean=0.873) == {"AutoAttack gap"}
    far = replace(madry[3], accuracy=0.40)
    assert names(*madry[:3], far, clean=0.873) == {"not converged", "AutoAttack gap"}


@given(st.integers(10, 99))
def test_whole_numbers_of_points_are_compared_as_they_are_printed(points):
    """A difference of exactly the bound is not beyond it, however a computer rounds it."""
    first, second = points / 100, (points - 5) / 100
    suite = Entry(attack="autoattack", accuracy=second, eps=EPS)
    wide = pgd(second, surrogates=4)
    assert names(pgd(first), suite, clean=1.0) == names(pgd(first), wide, clean=1.0) == set()
    below = Entry(attack="autoattack", accuracy=second - 0.001, eps=EPS)
    assert names(pgd(first), below, clean=1.0) == {"AutoAttack gap"}
    bim = Entry(attack="ifgsm", accuracy=(points - 2) / 100, eps=EPS, steps=20)
    assert names(pgd(first), bim, clean=1.0) == set()


def test_few_images_leave_chance_a_larger_part():
    """Of 20 images, one is five points, and one and a half no objection yet."""
    entries = pgd(0.5), Entry(attack="autoattack", accuracy=0.44, eps=EPS)
    assert names(*entries, images=20) == set() and names(*entries, images=1000) == {"AutoAttack gap"}


@pytest.mark.parametrize("attack", ["apgd_ce", "sa_pgd"])
def test_an_attack_that_is_stronger_by_name_breaks_no_less(attack):
    """Papers seldom print its steps."""
    weak = Entry(attack=attack, accuracy=0.6, eps=EPS)
    assert "more effort, weaker attack" in names(pgd(0.2, steps=7), weak)
    assert names(pgd(0.2, steps=7), replace(weak, accuracy=0.19)) == set()


@given(st.permutations(range(4)))
def test_the_order_of_columns_does_not_matter(order):
    entries = [
        Entry(attack="fgsm", accuracy=0.6, eps=EPS),
        pgd(0.62),
        Entry(attack="cw", accuracy=0.1, eps=EPS),
        Entry(attack="autoattack", accuracy=0.3, eps=EPS),
    ]
    expected = {"iterated ≥ single step", "AutoAttack gap", "another loss far stronger"}
    assert names(*(entries[i] for i in order)) >= expected
    assert names(*(entries[i] for i in order)) == names(*entries)


@pytest.mark.parametrize("what", ["eot", "surrogates"])
def test_more_effort_must_not_break_less(what):
    one, more = pgd(0.40), replace(pgd(0.45), **{what: 10})
    assert "more effort, weaker attack" in names(one, more)
    assert "more effort, weaker attack" not in names(replace(one, accuracy=0.45), more)


def test_unknown_effort_and_the_noise_of_a_stochastic_model_are_no_objection():
    one = Entry(attack="square", accuracy=0.40, eps=EPS, threat="query")
    more = replace(one, accuracy=0.45, queries=5000)
    assert "more effort, weaker attack" not in names(one, more)
    assert "more effort, weaker attack" in names(replace(one, queries=500), more)
    once, averaged = pgd(0.40), replace(pgd(0.41), eot=10)
    for stochastic in (False, True):
        found = review([Row(name="x", clean=0.9, entries=(once, averaged), stochastic=stochastic)]).rows[0]
        assert ("more effort, weaker attack" in {each.name for each in found.findings}) != stochastic


def test_more_steps_must_not_break_less():
    longer, shorter = (
        Entry(attack="apgd_ce", accuracy=a, eps=EPS, steps=n) for a, n in ((0.4, 100), (0.3, 80))
    )
    assert "more steps are at least as strong" in names(longer, shorter)
    assert names(replace(longer, accuracy=0.3), shorter) == set()


def test_less_knowledge_must_not_break_more():
    for threat, attack in (("query", "square"), ("transfer", "pgd")):
        sent = Entry(attack=attack, accuracy=0.2, eps=EPS, threat=threat)
        assert "gradients are masked" in names(pgd(0.3), sent)
        assert "gradients are masked" not in names(pgd(0.3), replace(sent, accuracy=0.35))


def test_a_surrogate_that_hides_images_is_named():
    assert "masked by the surrogate" in names(pgd(0.5), pgd(0.4, surrogates=4))
    assert "masked by the surrogate" not in names(pgd(0.44), pgd(0.4, surrogates=4))


def test_half_the_range_breaks_everything():
    assert "a budget of half the range breaks everything" in names(pgd(0.3, eps=0.5))


def test_accuracy_must_fall_as_the_budget_grows():
    """Beyond what was trained on: grey digits may stand at a third of the range that they were trained at."""
    flag = "accuracy does not fall with the budget"
    assert flag in names(pgd(0.5), pgd(0.5, eps=64 / 255))
    assert flag in names(pgd(0.45, steps=None), pgd(0.39, eps=64 / 255, steps=100), training_eps=EPS)
    assert flag not in names(pgd(0.5), pgd(0.05, eps=64 / 255))
    assert flag not in names(pgd(0.5), pgd(0.45, eps=16 / 255))
    assert flag not in names(pgd(0.97, eps=0.05), pgd(0.9, eps=0.3), training_eps=0.3)


def test_steps_that_nobody_wrote_are_not_invented():
    """A PGD without a number may be the longer one; Square has no steps."""
    assert names(pgd(0.3, steps=None), pgd(0.325)) == set()
    square = Entry(attack="square", accuracy=0.2, eps=EPS, threat="query")
    (found,) = review([row(pgd(0.3, steps=None), square)]).rows
    (finding,) = [each for each in found.findings if "square" in each.message.lower()]
    assert finding.name == "gradients are masked" and "-7" not in finding.message


def test_an_attack_without_a_bound_cannot_fail():
    failed = Entry(attack="cw", accuracy=0.4, norm="l2", unbounded=True)
    assert names(failed) == {"an attack without a bound failed"}
    assert names(replace(failed, accuracy=0.01)) == set()


def test_budgets_are_never_compared_with_others():
    assert names(Entry(attack="fgsm", accuracy=0.2, eps=16 / 255), pgd(0.5)) == set()


def test_questions_name_what_no_row_tells():
    table = [row(pgd(0.5), clean=0.9, training=None), row(pgd(0.5), training="clean", stochastic=True)]
    asked = " ".join(review(table).questions)
    for word in ("100 steps", "surrogate", "Square", "another loss", "64/255", "Trained on", "EOT", "images"):
        assert word in asked, word


def test_a_complete_table_leaves_no_question():
    entries = [
        pgd(0.4, steps=100, surrogates=4),
        pgd(0.0, steps=100, surrogates=4, eps=64 / 255),
        Entry(attack="autoattack", accuracy=0.39, eps=EPS),
        pgd(0.6, threat="transfer"),
    ]
    told = row(*entries, training_eps=EPS, stochastic=False, images=1000)
    assert review([told]).questions == ()
    assert review([told]).verdict.level == "reliable"


def test_a_budget_may_be_written_as_a_decimal():
    """8/255 of one column is the 0.0313725 of another."""
    weaker = Entry(attack="autoattack", accuracy=0.2, eps=0.0313725)
    assert names(pgd(0.7), weaker) == names(pgd(0.7), replace(weaker, eps=EPS)) != set()
