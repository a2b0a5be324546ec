"""Surrogates that know more than one membrane at one step, against their equations as plain float64 loops."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from purespike.neurons import (
    MultiLevelFiring,
    compiled,
    multi_level_firing,
    parse_surrogate,
    surrogate_gradient,
)
from purespike.neurons.surrogate import Surrogate

from .reference import check, drawn, expected_gradient, loop
from .tiers import needs_compiler, no_fallback

TEXTS = ["assg", "assg(coverage=0.95)", "pdsg", "hart", "hart(width=2.5)", "ratebased", "bptr"]
LEVELS = pytest.mark.parametrize("thresholds", [(0.6,), (0.6, 1.6, 2.6)], ids=["K=1", "K=3"])
DTYPES = pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-11)], ids=["float32", "float64"]
)


def fire(current, weights, text, thresholds, decay=0.25):
    leaf = current.detach().requires_grad_()
    spikes = multi_level_firing(leaf, thresholds=thresholds, decay=decay, surrogate=parse_surrogate(text))
    (gradient,) = torch.autograd.grad((spikes * weights).sum(), leaf)
    return spikes.detach(), gradient


@DTYPES
@LEVELS
@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("time_steps", range(1, 6))
@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (7, 6), (2, 3, 4, 4, 2)], ids=["images", "features", "more"])
def test_gradient_is_what_its_equation_says(shape, time_steps, text, thresholds, dtype, tolerance):
    current, weights = drawn(time_steps, *shape, seed=time_steps, dtype=dtype)
    spikes, gradient = fire(current, weights, text, thresholds)
    assert gradient.dtype == spikes.dtype == dtype
    assert torch.equal(spikes.double(), loop(current.double(), thresholds, 0.25, torch.ones_like))
    check(gradient, expected_gradient(text, current, weights, thresholds, 0.25), tolerance)


@pytest.mark.parametrize("decay", [0.0, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("text", TEXTS)
def test_gradient_at_other_decays(text, decay):
    current, weights = drawn(4, 2, 3, 6, 6)
    _, gradient = fire(current, weights, text, (0.5, 1.1), decay)
    check(gradient, expected_gradient(text, current, weights, (0.5, 1.1), decay), 1e-11)


@LEVELS
@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
@pytest.mark.parametrize("frozen", [True, False], ids=["frozen", "learning"])
@pytest.mark.parametrize("text", TEXTS)
def test_with_a_norm_before_it(text, frozen, training, thresholds):
    current, weights = drawn(3 * 2, 4, 3, 5)
    norm = nn.BatchNorm2d(4, dtype=torch.float64).train(training).requires_grad_(not frozen)
    nn.init.uniform_(norm.weight, 0.5, 1.5)
    nn.init.uniform_(norm.bias, 0.2, 0.7)
    leaf = current.clone().requires_grad_()
    spikes = MultiLevelFiring(thresholds, surrogate=text, time_steps=3)(leaf, norm=norm)
    (spikes * weights).sum().backward()

    outer = current.clone().requires_grad_()
    normalised = nn.functional.batch_norm(
        outer,
        None if training else torch.zeros(4, dtype=torch.float64),
        None if training else torch.ones(4, dtype=torch.float64),
        norm.weight,
        norm.bias,
        training,
    )
    gradient = expected_gradient(
        text, normalised.detach().unflatten(0, (3, 2)), weights.unflatten(0, (3, 2)), thresholds, 0.25
    )
    normalised.backward(gradient.flatten(0, 1))
    check(leaf.grad, outer.grad, 1e-11)


@needs_compiler
@pytest.mark.parametrize(
    ("text", "normalised"),
    # a compilation takes seconds: without a norm only those that look at membranes
    [
        *((text, True) for text in ("pdsg", "assg", "hart", "ratebased", "bptr")),
        ("pdsg", False),
        ("assg", False),
    ],
)
def test_compiled_equals_eager(monkeypatch, text, normalised):
    monkeypatch.setattr(compiled, "SMALLEST", 0)
    monkeypatch.setattr(compiled, "_broken", [])
    neurons = MultiLevelFiring((0.6, 1.6), surrogate=text, time_steps=2)
    for index, shape in enumerate([(4, 3, 5, 6), (6, 5, 4, 4), (2, 4, 3, 7)]):
        results = []
        for tier in ("1", "0"):
            monkeypatch.setenv("PURESPIKE_COMPILE", tier)
            current, weights = drawn(*shape, seed=index, dtype=torch.float32)
            leaf = current.requires_grad_()
            norm = nn.BatchNorm2d(shape[1]).train(index != 1)
            before = torch._dynamo.utils.counters["stats"]["unique_graphs"]
            with no_fallback():
                spikes = neurons(leaf, norm=norm if normalised else None)
                spikes.backward(weights)
            if tier == "1" and index > 0:
                assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == before
            results.append((spikes.detach(), leaf.grad))
        assert torch.equal(results[0][0], results[1][0])
        check(results[0][1], results[1][1].double(), 1e-5)


@settings(max_examples=40)
@given(
    text=st.sampled_from(TEXTS),
    shape=st.tuples(st.integers(1, 3), st.integers(1, 4), st.integers(1, 4), st.integers(1, 4)),
    time_steps=st.integers(1, 3),
    cached=st.integers(1, 60),
    normalised=st.booleans(),
)
def test_eager_in_pieces_is_eager_in_one_piece(text, shape, time_steps, cached, normalised):
    current, weights = drawn(time_steps * shape[0], *shape[1:])
    neurons = MultiLevelFiring((0.6, 1.6), surrogate=text, time_steps=time_steps)
    norm = nn.BatchNorm2d(shape[1], dtype=torch.float64).eval() if normalised else None
    gradients = []
    for elements in (cached, 1 << 30):
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("PURESPIKE_COMPILE", "0")
            patch.setattr(compiled, "CACHED", elements)
            leaf = current.clone().requires_grad_()
            neurons(leaf, norm=norm).backward(weights)
            gradients.append(leaf.grad)
    torch.testing.assert_close(*gradients, atol=1e-12, rtol=1e-12)


@pytest.mark.parametrize("text", [*Surrogate.known])
def test_spikes_and_their_layout_do_not_depend_on_the_surrogate(text):
    current, _ = drawn(8, 3, 5, 4, dtype=torch.float32)
    neurons = nn.Sequential(MultiLevelFiring(time_steps=4))
    for images in (current, current.contiguous(memory_format=torch.channels_last), current[..., ::2]):
        own = neurons(images)
        with surrogate_gradient(neurons, text):
            spikes = neurons(images)
        assert torch.equal(spikes, own)
        assert spikes.stride() == own.stride()


@pytest.mark.parametrize("text", [*Surrogate.known])
@pytest.mark.parametrize("factor", [0.0, 1e-6, 1e4], ids=str)
@pytest.mark.parametrize("offset", [0.0, 0.6, -3.0])
def test_gradients_are_finite(text, factor, offset):
    for shape in [(3, 2, 3, 4, 4), (1, 1, 1, 1, 1), (3, 1, 2, 1, 1), (3, 0, 2, 4, 4), (4, 5), (2, 1), (2, 0)]:
        current, weights = drawn(*shape, dtype=torch.float32)
        _, gradient = fire(current * factor + offset, weights, text, (0.6, 1.6))
        assert gradient.shape == current.shape
        assert gradient.isfinite().all()


@pytest.mark.parametrize("text", TEXTS)
def test_bfloat16_is_differentiated_in_float32(text):
    current, weights = drawn(4, 2, 3, 6, 6, dtype=torch.bfloat16)
    _, gradient = fire(current, weights, text, (0.6, 1.6))
    _, wide = fire(current.float(), weights.float(), text, (0.6, 1.6))
    assert gradient.dtype == torch.bfloat16
    assert torch.equal(gradient, wide.bfloat16())


def test_pdsg_of_channels_is_that_of_each_channel_alone():
    current, weights = drawn(3, 2, 4, 5, 5)
    _, gradient = fire(current, weights, "pdsg", (0.6,))
    for channel in range(4):
        part = slice(channel, channel + 1)
        _, alone = fire(current[:, :, part].clone(), weights[:, :, part], "pdsg", (0.6,))
        torch.testing.assert_close(gradient[:, :, part], alone, atol=1e-12, rtol=1e-12)


@pytest.mark.parametrize("text", TEXTS)
def test_only_pdsg_looks_at_the_rest_of_the_batch(text):
    current, weights = drawn(3, 2, 4, 5, 5)
    _, gradient = fire(current, weights, text, (0.6,))
    _, alone = fire(current[:, :1].clone(), weights[:, :1], text, (0.6,))
    assert torch.allclose(gradient[:, :1], alone, atol=1e-12) == (text != "pdsg")


def test_gradient_of_rates_is_that_of_the_curve_it_stands_for():
    """f rises with 0.2/V to V(1-τ), then in a straight line to 1 at 2V."""
    threshold, decay = 0.7, 0.3
    for mean in (0.3, 0.6, 1.3):
        current = torch.tensor([[mean - 0.2], [mean + 0.2]], dtype=torch.float64)
        _, gradient = fire(current, torch.ones_like(current), "ratebased", (threshold,), decay)
        knee = (threshold * (1 - decay), 0.2 * (1 - decay))
        rise = knee[1] / knee[0] if mean < knee[0] else (1 - knee[1]) / (2 * threshold - knee[0])
        assert gradient.flatten().tolist() == pytest.approx([rise, rise])


def test_bptr_differentiates_a_network_as_the_relu_network_of_the_neurons_that_fired():
    torch.manual_seed(0)
    first, last = nn.Linear(5, 40).double(), nn.Linear(40, 3).double()
    images = torch.rand(6, 5, dtype=torch.float64, requires_grad=True)
    neurons = MultiLevelFiring((0.5,), surrogate="bptr")
    spikes = neurons(first(images).expand(4, -1, -1))
    logits = last(spikes).mean(0)
    (gradient,) = torch.autograd.grad(logits[:, 0].sum(), images)
    fired = spikes.detach().sum(0) > 0
    assert 0.1 < fired.double().mean() < 0.9
    rate = torch.where(fired, first(images) / 0.5, 0)
    (expected,) = torch.autograd.grad(last(rate)[:, 0].sum(), images)
    torch.testing.assert_close(gradient, expected, atol=1e-12, rtol=1e-12)
