"""AUROC, true positives and risk, against loops over pairs and thresholds."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from purespike.rejection.metrics import auroc_interval, detection, risk_coverage, true_positives

SCORES = st.lists(st.integers(0, 6).map(float), min_size=1, max_size=25)


@given(SCORES, SCORES)
def test_auroc_is_the_share_of_pairs_in_order(clean, attacked):
    pairs = [(a > c) + 0.5 * (a == c) for a in attacked for c in clean]
    found = detection(clean, attacked)
    assert found.successes == len(attacked)
    assert found.auroc.value == pytest.approx(sum(pairs) / len(pairs))
    assert found.auroc.low <= found.auroc.value <= found.auroc.high


@given(SCORES, SCORES, st.sampled_from([0.01, 0.05, 0.2, 0.5]))
def test_true_positives_at_the_best_threshold_of_that_rate(clean, attacked, rate):
    best = 0
    for threshold in [-1.0, *clean, *attacked]:
        wrong = sum(score > threshold for score in clean)
        if wrong <= rate * len(clean) + 1e-9:
            best = max(best, sum(score > threshold for score in attacked))
    assert true_positives(clean, attacked, rate=rate).correct == best


@pytest.mark.parametrize(
    ("area", "positives", "negatives"), [(0.5, 10, 10), (0.9, 20, 50), (1.0, 30, 30), (0.0, 30, 30)]
)
def test_the_bounds_of_an_area_solve_the_equation(area, positives, negatives):
    low, high = auroc_interval(area, positives=positives, negatives=negatives)
    more = (positives + negatives) / 2 - 1
    for bound in (low, high):
        if bound in (0.0, 1.0):
            continue
        hanley = bound * (1 - bound)
        hanley *= 1 + more * (1 - bound) / (2 - bound) + more * bound / (1 + bound)
        assert abs(area - bound) == pytest.approx(1.96 * math.sqrt(hanley / positives / negatives), rel=1e-4)
    assert low <= area <= high and high - low > 0.02
    mirrored = auroc_interval(1 - area, positives=positives, negatives=negatives)
    assert mirrored == pytest.approx((1 - high, 1 - low))


def test_failed_attacks_are_no_positives():
    found = detection([1.0, 2.0], [])
    assert found.successes == 0 and found.auroc is None and found.tpr_at_1 is None


@given(st.lists(st.tuples(st.integers(0, 5).map(float), st.integers(0, 1)), min_size=1, max_size=30))
def test_risk_at_every_coverage(drawn):
    scores, right = [score for score, _ in drawn], [each for _, each in drawn]
    found = risk_coverage(scores, right)
    expected, area = [], 0.0
    for threshold in sorted(set(scores)):
        kept = [each for score, each in drawn if score <= threshold]
        expected.append((len(kept) / len(drawn), kept.count(0) / len(kept)))
    for score, _ in drawn:
        kept = [each for other, each in drawn if other <= score]
        area += kept.count(0) / len(kept) / len(drawn)
    assert found.coverage == pytest.approx([coverage for coverage, _ in expected])
    assert found.risk == pytest.approx([risk for _, risk in expected])
    assert found.aurc == pytest.approx(area)
    assert found.coverage[-1] == 1 and found.risk[-1] == pytest.approx(right.count(0) / len(right))
