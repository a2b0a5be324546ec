"""The threshold of a coverage: reached within one image, or refused where ties forbid it."""

import math
from fractions import Fraction
from functools import partial

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from purespike.errors import InputError
from purespike.models import Defended
from purespike.rejection import Gated, Rejecting, choose_threshold

from .planted import Resetting, Sum, images

VALUES = st.floats(-1e6, 1e6, width=32)


def passing(scores, threshold):
    return sum(1 for score in scores if score <= threshold)


@given(st.lists(VALUES, min_size=1, max_size=40, unique=True), st.integers(1, 100))
def test_the_coverage_is_reached_within_one_image(scores, percent):
    kept = passing(scores, choose_threshold(scores, percent / 100))
    wanted = Fraction(percent, 100) * len(scores)
    assert wanted <= kept < wanted + 1


@given(st.lists(st.integers(0, 5), min_size=1, max_size=30), st.integers(1, 100))
def test_ties_are_refused_exactly_where_no_threshold_reaches_the_coverage(scores, percent):
    wanted = math.ceil(Fraction(percent, 100) * len(scores))
    reachable = {passing(scores, value) for value in scores}
    if len(scores) > 1 and len(reachable) == 1:
        with pytest.raises(InputError, match="tells nothing apart"):
            choose_threshold(scores, percent / 100)
        return
    if wanted in reachable:
        assert passing(scores, choose_threshold(scores, percent / 100)) == wanted
        return
    with pytest.raises(InputError, match=r"out of reach: .* have the same score") as refused:
        choose_threshold(scores, percent / 100)
    offered = str(refused.value).partition("ask for ")[2].partition(",")[0].split(" or ")
    below = max((each for each in reachable if each < wanted), default=None)
    expected = [each for each in (below, min(each for each in reachable if each > wanted)) if each]
    assert [round(float(each) * len(scores), 1) for each in offered] == pytest.approx(expected, abs=0.1)


@given(st.lists(VALUES, min_size=1), VALUES, VALUES)
def test_a_higher_threshold_accepts_no_less(scores, one, other):
    low, high = sorted((one, other))
    assert passing(scores, low) <= passing(scores, high)


@given(st.lists(VALUES, min_size=2, max_size=20, unique=True), st.integers(1, 99), st.integers(1, 99))
def test_a_higher_coverage_has_no_lower_threshold(scores, one, other):
    low, high = sorted((one, other))
    assert choose_threshold(scores, low / 100) <= choose_threshold(scores, high / 100)


@pytest.mark.parametrize(
    ("scores", "coverage", "message"),
    [
        ([], 0.95, "no images"),
        ([1.0, 2.0], 0, r"a share of clean images in \(0, 1\]"),
        ([1.0, 2.0], 1.5, r"a share of clean images in \(0, 1\]"),
        ([1.0, 2.0], "most", "coverage"),
        ([1.0, math.nan, math.inf], 0.5, "not finite on 2 of 3 clean images"),
        ([0.0] * 10, 0.95, "all 10 images have the same score 0, which tells nothing apart"),
        ([0.0] * 2 + [1.0] * 5 + [2.0], 0.5, "0.5 is out of reach: 5 of 8 .* ask for 0.25 or 0.875,"),
    ],
    ids=str,
)
def test_what_cannot_be_is_one_line(scores, coverage, message):
    with pytest.raises(InputError, match=message) as refused:
        choose_threshold(scores, coverage)
    assert "\n" not in str(refused.value)


def test_calibrating_in_batches_changes_nothing_and_leaves_the_mode():
    pixels, _ = images(11)
    model = Rejecting(Defended(Resetting(*(0.45, 0.3)), Sum()), "purification_distance").train()
    first = model.calibrate(pixels, 0.7)
    assert model.calibrate(pixels, 0.7, batch_size=4) == first and model.training
    assert int(model.accept(pixels).sum()) == 8
    assert model.calibrate((pixels * 255).round().to(torch.uint8), 0.5) > 0


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (torch.zeros(0, 1, 2, 2), "no images"),
        (torch.full((2, 1, 2, 2), 2.0), r"outside \[0, 1\]"),
        (torch.zeros(4, 1, 2, 2), "all 4 images have the same score 0"),
    ],
    ids=["none", "range", "ties"],
)
def test_images_that_cannot_calibrate(given, message):
    model = Rejecting(Defended(nn.Identity(), Sum()), "purification_distance")
    with pytest.raises(InputError, match=message):
        model.calibrate(given)
    assert model.threshold is None


@pytest.mark.parametrize("threshold", [float("nan"), float("inf"), "x"])
def test_a_threshold_is_a_finite_number(threshold):
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    for made in (partial(Rejecting, model, "firing_rate"), partial(Gated, nn.Identity(), model, "noise_max")):
        with pytest.raises(InputError, match="threshold"):
            made(threshold)
