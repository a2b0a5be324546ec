"""The statistics of a certificate, against closed forms, scipy and simulated counts; no network."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import beta, binom, binomtest, norm

from purespike import InputError
from purespike.results.certification import Certificate, certified_radius, lower_bound
from purespike.smoothing import Smoothing, least_draws


def radii(counts, smoothing):
    """The radius of every count, each computed once."""
    known = {
        int(count): Certificate.of(label=0, selected=0, n_a=int(count), smoothing=smoothing).radius
        for count in np.unique(counts)
    }
    return np.array([known[int(count)] for count in counts])


@pytest.mark.parametrize(
    ("n", "radius"), [(100, 1.5005), (1_000, 2.4633), (10_000, 3.1986), (100_000, 3.8115)]
)
def test_draws_that_all_agree_have_the_largest_radius(n, radius):
    """Invariant 1: p = α^(1/n), with the numbers of the literature."""
    for sigma in (0.25, 1.0):
        smoothing = Smoothing(sigma=sigma, n=n)
        found = Certificate.of(label=3, selected=3, n_a=n, smoothing=smoothing)
        assert found.p_lower == pytest.approx(0.001 ** (1 / n), abs=1e-12)
        assert found.radius == pytest.approx(sigma * radius, abs=1e-4 * sigma)
        assert found.radius == pytest.approx(smoothing.largest_radius, rel=1e-9)


def test_the_radius_stays_below_the_distance_of_a_linear_classifier_and_reaches_it():
    """Invariant 2: the smoothed linear classifier is itself, and its distance to the boundary is known."""
    distance, sigma, draw = 0.3, 0.25, np.random.default_rng(0)
    means = []
    for n in (100, 1_000, 10_000, 100_000):
        smoothing = Smoothing(sigma=sigma, n=n)
        found = radii(draw.binomial(n, norm.cdf(distance / sigma), 20_000), smoothing)
        # α of 20,000 and its own spread, of which three are allowed
        assert (found > distance).sum() <= 20 + 3 * math.sqrt(20)
        means.append(found.mean())
    assert means == pytest.approx([0.1745, 0.2601, 0.2873, 0.2960], abs=2e-3)


@settings(max_examples=40)
@given(n=st.integers(10, 2_000), share=st.floats(0, 1), alpha=st.floats(1e-6, 0.2))
def test_the_bound_is_the_quantile_that_the_binomial_tail_defines(n, share, alpha):
    """Invariant 3: equal to scipy's quantile; at it, so many successes or more have a probability of α."""
    successes = round(share * n)
    bound = lower_bound(successes, n, alpha)
    if not successes:
        assert bound == 0
        return
    assert bound == pytest.approx(beta.ppf(alpha, successes, n - successes + 1), abs=1e-12)
    assert binom.sf(successes - 1, n, bound) == pytest.approx(alpha, rel=1e-6)
    # the two-sided interval at 2α has the same lower end
    interval = binomtest(successes, n).proportion_ci(1 - 2 * alpha, method="exact")
    assert bound == pytest.approx(interval.low, abs=1e-9)
    assert lower_bound(successes - 1, n, alpha) < bound < lower_bound(successes, n, 2 * alpha)


def test_half_of_the_draws_certify_nothing():
    """Invariant 3: up to a bound of ½ it abstains, whatever the label."""
    for n in (20, 1_000, 100_000):
        found = Certificate.of(label=1, selected=1, n_a=n // 2, smoothing=Smoothing(n=n))
        assert found.prediction is None and found.radius == 0 and not found.correct
    assert certified_radius(0.5, 1.0) == 0 < certified_radius(np.nextafter(0.5, 1), 1.0)


@pytest.mark.parametrize("alpha", [0.001, 0.05])
def test_a_coin_is_abstained_from(alpha):
    """Invariant 3: two classes equally likely, the selected one drawn as well."""
    smoothing = Smoothing(n=1_000, alpha=alpha)
    counts = np.random.default_rng(1).binomial(1_000, 0.5, 20_000)
    certified = (radii(counts, smoothing) > 0).mean()
    assert certified <= alpha + 3 * math.sqrt(alpha / 20_000)


@given(count=st.integers(0, 500), factor=st.floats(0.25, 8))
def test_the_radius_scales_with_the_noise(count, factor):
    """Invariant 4, for a classifier whose counts do not change with scale."""
    one, other = (
        Certificate.of(label=0, selected=0, n_a=count, smoothing=Smoothing(sigma=sigma, n=500))
        for sigma in (1.0, factor)
    )
    assert other.radius == pytest.approx(factor * one.radius, rel=1e-12)


@pytest.mark.parametrize("alpha", [0.25, 0.1, 0.05, 0.01, 0.001, 1e-6, 2**-10])
def test_too_few_draws_are_refused(alpha):
    """Invariant 7: the least number of draws is the first whose unanimous bound exceeds one half."""
    least = next(n for n in range(1, 100) if 0.5**n < alpha)
    assert least_draws(alpha) == least
    assert Smoothing(sigma=10, n=least, alpha=alpha).largest_radius > 0
    with pytest.raises(InputError, match=rf"^n: .* certify nothing at alpha .* at least {least},"):
        Smoothing(sigma=10, n=least - 1, alpha=alpha)


REFUSED = {
    "alpha 2, as one published code has it": ({"alpha": 2}, "alpha: .* less than 0.5, got 2"),
    "alpha 0": ({"alpha": 0}, "alpha: .* greater than 0"),
    "alpha nan": ({"alpha": float("nan")}, "alpha: "),
    "alpha true": ({"alpha": True}, "alpha: must be a number, got True"),
    "no draws": ({"n": 0}, "n: .* greater than or equal to 1"),
    "half a draw": ({"n": 10.5}, "n: "),
    "no selection": ({"n0": 0}, "n0: "),
    "no noise": ({"sigma": 0}, "sigma: must be positive"),
    "noise in grey levels": ({"sigma": 64}, "sigma: .* in pixel units .* got 64"),
    "words": ({"sigma": "much"}, "sigma: 'much' is neither a number nor a fraction"),
    "a certificate below a grey level": (
        {"sigma": 1e-3},
        r"sigma: 0.001 .* radius of 0.0032.*one grey level",
    ),
}


@pytest.mark.parametrize(("given", "says"), REFUSED.values(), ids=REFUSED)
def test_settings_that_mean_nothing_are_one_line(given, says):
    with pytest.raises(InputError, match=says) as refused:
        Smoothing(**given)
    assert "\n" not in str(refused.value)


def test_sigma_may_be_a_fraction():
    assert Smoothing(sigma="64/255").sigma == 64 / 255
