import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from purespike.errors import InputError
from purespike.losses import (
    LEVELS,
    asymmetric,
    beta_schedule,
    charbonnier,
    purification_loss,
    reconstruction,
    total_variation,
    true_noise_level,
)

SHAPES = [(2, 3, 4, 5), (1, 1, 1, 6), (3, 1, 5, 1), (1, 2, 1, 1)]


def window_deviation(noise, window=5):
    found, reach = np.zeros_like(noise), window // 2
    for i, j, y, x in itertools.product(*map(range, noise.shape)):
        rows = slice(max(0, y - reach), y + reach + 1)
        columns = slice(max(0, x - reach), x + reach + 1)
        found[i, j, y, x] = np.std(noise[i, j, rows, columns])
    return found


def drawn(shape, count, seed=0):
    return list(np.random.default_rng(seed).random((count, *shape)))


def smooth_absolute(a, b, c=1e-3):
    return np.mean(np.sqrt((a - b) ** 2 + c**2))


def blend(a, b, beta, c=1e-3):
    return beta * smooth_absolute(a, b, c) + (1 - beta) * np.mean((a - b) ** 2)


def lopsided(estimated, true, gamma):
    weights = np.abs(gamma - (estimated < true).astype(float))
    return np.mean(weights * (estimated - true) ** 2)


def variation(level):
    total = 0.0
    n, c, h, w = level.shape
    for pairs, step in [((h, w - 1), (0, 1)), ((h - 1, w), (1, 0))]:
        squares = [
            (level[i, j, y + step[0], x + step[1]] - level[i, j, y, x]) ** 2
            for i, j, y, x in itertools.product(range(n), range(c), *map(range, pairs))
        ]
        total += sum(squares) / max(1, len(squares))
    return total


LOSSES = {
    "charbonnier": (lambda a, b: charbonnier(a, b), smooth_absolute, 2),
    "charbonnier c=0.1": (lambda a, b: charbonnier(a, b, c=0.1), lambda a, b: smooth_absolute(a, b, 0.1), 2),
    "reconstruction": (lambda a, b: reconstruction(a, b), lambda a, b: blend(a, b, 0.5), 2),
    "reconstruction beta=0": (lambda a, b: reconstruction(a, b, beta=0), lambda a, b: blend(a, b, 0), 2),
    "reconstruction beta=0.8": (
        lambda a, b: reconstruction(a, b, beta=0.8, c=0.01),
        lambda a, b: blend(a, b, 0.8, 0.01),
        2,
    ),
    "asymmetric": (lambda a, b: asymmetric(a, b), lambda a, b: lopsided(a, b, 0.3), 2),
    "asymmetric gamma=0.1": (
        lambda a, b: asymmetric(a, b, gamma=0.1),
        lambda a, b: lopsided(a, b, 0.1),
        2,
    ),
    "total variation": (total_variation, variation, 1),
    "purification": (
        lambda a, b, c, d: purification_loss(a, b, c, d, beta=0.7, asymmetric_weight=2, gamma=0.2).total,
        lambda a, b, c, d: blend(a, c, 0.7) + 2 * lopsided(b, np.abs(d - c), 0.2) + 0.05 * variation(b),
        4,
    ),
    "purification, signed": (
        lambda a, b, c, d: purification_loss(a, b, c, d, level="signed").total,
        lambda a, b, c, d: smooth_absolute(a, c) + 0.5 * lopsided(b, d - c, 0.3) + 0.05 * variation(b),
        4,
    ),
    "purification, local std": (
        lambda a, b, c, d: purification_loss(a, b, c, d, level="local_std").total,
        lambda a, b, c, d: (
            smooth_absolute(a, c) + 0.5 * lopsided(b, window_deviation(d - c), 0.3) + 0.05 * variation(b)
        ),
        4,
    ),
}


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize(("loss", "plain", "count"), LOSSES.values(), ids=LOSSES)
def test_value(loss, plain, count, shape):
    arrays = drawn(shape, count)
    value = loss(*map(torch.from_numpy, arrays))
    assert value.shape == ()
    assert value.item() == pytest.approx(plain(*arrays), rel=1e-12, abs=1e-15)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize(("loss", "plain", "count"), LOSSES.values(), ids=LOSSES)
def test_gradient_against_finite_differences(loss, plain, count, shape):
    leaves = [torch.from_numpy(array).requires_grad_() for array in drawn(shape, count, seed=1)]
    assert torch.autograd.gradcheck(loss, leaves)


@pytest.mark.parametrize(("loss", "plain", "count"), LOSSES.values(), ids=LOSSES)
def test_gradient_is_finite_where_everything_is_equal(loss, plain, count):
    leaves = [torch.full((1, 1, 3, 3), 0.5, requires_grad=True) for _ in range(count)]
    for gradient in torch.autograd.grad(loss(*leaves), leaves):
        assert gradient.isfinite().all()


@pytest.mark.parametrize("window", [1, 3, 7])
def test_the_local_deviation_is_that_of_the_window(window):
    (noise,) = drawn((2, 3, 5, 6), 1)
    found = true_noise_level(torch.from_numpy(noise), level="local_std", window=window)
    np.testing.assert_allclose(found, window_deviation(noise, window), atol=1e-12)


def test_readings_of_the_noise_level_on_an_attack_of_two_levels():
    """What each says of an FGSM perturbation: its size, its signs, where its signs change."""
    noise = torch.full((1, 1, 9, 12), 0.0625)
    noise[..., 6:] *= -1
    absolute, signed, local = (true_noise_level(noise, level=level) for level in LEVELS)
    assert torch.equal(absolute, torch.full_like(noise, 0.0625))
    assert torch.equal(signed, noise)
    assert local[..., :4].max() == local[..., 8:].max() == 0
    assert (local[..., 4:8] > 0.02).all() and local.max() <= 0.0625


@settings(max_examples=50)
@given(gamma=st.floats(0.01, 0.49), error=st.floats(0.01, 1), size=st.integers(1, 9))
def test_underestimates_cost_more(gamma, error, size):
    true = torch.full((1, 1, size, 2), 0.5, dtype=torch.float64)
    under, over = (asymmetric(true + sign * error, true, gamma=gamma).item() for sign in (-1, 1))
    assert under / over == pytest.approx((1 - gamma) / gamma, rel=1e-9)


def test_asymmetric_punishes_a_single_outlier_by_its_share():
    true = torch.zeros(1, 1, 2, 2)
    estimated = true.clone()
    estimated[0, 0, 0, 0] = -1.0
    assert asymmetric(estimated, true, gamma=0.25).item() == pytest.approx(0.75 / 4)


@settings(max_examples=30)
@given(level=st.floats(-1, 1), height=st.integers(1, 6), width=st.integers(1, 6))
def test_variation_of_a_constant_is_zero(level, height, width):
    assert total_variation(torch.full((2, 3, height, width), level)).item() == 0


@pytest.mark.parametrize(("rows", "columns"), [(1, 5), (5, 1), (4, 7), (9, 2)])
def test_variation_of_a_ramp_does_not_depend_on_size(rows, columns):
    ramp = torch.arange(rows)[:, None] * 0.5 + torch.arange(columns)[None] * 2.0
    expected = (0.25 if rows > 1 else 0) + (4.0 if columns > 1 else 0)
    assert total_variation(ramp[None, None]).item() == pytest.approx(expected)


@pytest.mark.parametrize("c", [1e-3, 0.2])
def test_beta_of_one_is_charbonnier(c):
    a, b = map(torch.from_numpy, drawn((2, 3, 4, 4), 2))
    assert torch.equal(reconstruction(a, b, beta=1, c=c), charbonnier(a, b, c=c))


def test_charbonnier_approaches_the_absolute_error():
    a, b = map(torch.from_numpy, drawn((2, 3, 4, 4), 2))
    assert charbonnier(a, b, c=1e-9).item() == pytest.approx(np.abs(a - b).mean().item(), abs=1e-8)
    assert charbonnier(a, a, c=0.25).item() == 0.25


def test_total_is_the_weighted_sum_of_its_terms():
    arrays = [torch.from_numpy(array) for array in drawn((2, 3, 4, 4), 4)]
    loss = purification_loss(*arrays, beta=0.4, asymmetric_weight=0.7, variation_weight=0.3, gamma=0.2)
    assert loss.total == loss.reconstruction + 0.7 * loss.asymmetric + 0.3 * loss.total_variation
    restored, level, clean, adversarial = arrays
    assert loss.reconstruction == reconstruction(restored, clean, beta=0.4)
    assert loss.asymmetric == asymmetric(level, (adversarial - clean).abs(), gamma=0.2)
    assert loss.total_variation == total_variation(level)


def test_weights_of_zero_leave_the_reconstruction():
    arrays = [torch.from_numpy(array) for array in drawn((2, 3, 4, 4), 4)]
    loss = purification_loss(*arrays, asymmetric_weight=0, variation_weight=0)
    assert loss.total == loss.reconstruction == charbonnier(arrays[0], arrays[2])


@pytest.mark.parametrize(
    ("epoch", "switch", "expected"),
    [(1, 3, 1.0), (2, 3, 1.0), (3, 3, 0.4), (9, 3, 0.4), (1, 1, 0.4), (1, 0, 0.4)],
)
def test_beta_schedule(epoch, switch, expected):
    assert beta_schedule(epoch, beta=0.4, switch_epoch=switch) == expected


PAIR = torch.zeros(1, 1, 2, 2), torch.zeros(1, 1, 2, 2)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: charbonnier(*PAIR, c=0), "c: "),
        (lambda: charbonnier(*PAIR, c=float("nan")), "c: "),
        (lambda: reconstruction(*PAIR, beta=1.1), "beta: "),
        (lambda: reconstruction(*PAIR, beta=-0.1), "beta: "),
        (lambda: asymmetric(*PAIR, gamma=0), "gamma: "),
        (lambda: asymmetric(*PAIR, gamma=0.5), "gamma: "),
        (lambda: purification_loss(*PAIR, *PAIR, gamma=0.7), "gamma: "),
        (lambda: purification_loss(*PAIR, *PAIR, level="sigend"), "did you mean 'signed'"),
        (lambda: true_noise_level(PAIR[0], level="local_std", window=4), "window: must be odd.*got 4"),
        (lambda: true_noise_level(PAIR[0], level="local_std", window=-1), "window: "),
    ],
)
def test_settings_out_of_range(call, message):
    with pytest.raises(InputError, match=message):
        call()


@pytest.mark.parametrize(
    "loss",
    [charbonnier, reconstruction, asymmetric, lambda a, b: purification_loss(a, a, a, b)],
)
@pytest.mark.parametrize("other", [(1, 1, 2, 1), (1, 1, 1, 2), (2, 1, 2, 2), (2, 2)], ids=str)
def test_shapes_must_agree(loss, other):
    # all of these would broadcast silently
    with pytest.raises(InputError, match="shapes differ"):
        loss(torch.zeros(1, 1, 2, 2), torch.zeros(other))
