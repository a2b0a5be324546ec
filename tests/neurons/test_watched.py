"""Multi-level firing that leaves its membranes, against plain float64 loops; its spikes are those without."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from purespike.neurons import MLF, SpikingNeuron, parse_surrogate
from purespike.neurons.multi_level import fire_levels, fire_levels_watched
from purespike.neurons.watched import fire_watched, watchable

from .reference import SLOPES, Spike, drawn
from .tiers import everything_compiled, needs_compiler, no_fallback

LEVELS = [(0.6,), (0.6, 1.6, 2.6)]
RESETS = ("attached", "detached")


def plain(current, thresholds, decay, slope, reset):
    """Counts and distances ``[T, K, ...]`` by their equations."""
    counts, distances = [], []
    membranes, fired = [0.0] * len(thresholds), [0.0] * len(thresholds)
    for x in current:
        for k, threshold in enumerate(thresholds):
            kept = fired[k].detach() if reset == "detached" and len(counts) else fired[k]
            membranes[k] = decay * membranes[k] * (1 - kept) + x
            fired[k] = Spike.apply(membranes[k] - threshold, slope)
        counts.append(sum(fired))
        distances.append(torch.stack([u - v for u, v in zip(membranes, thresholds, strict=True)]))
    return torch.stack(counts), torch.stack(distances)


def both(fire, current, of_spikes, of_distances):
    """What ``fire`` returns, and the gradient of a weighted sum of it."""
    leaf = current.clone().requires_grad_()
    spikes, distances = fire(leaf)
    loss = (spikes * of_spikes).sum() + (distances * of_distances).sum()
    return spikes.detach(), distances.detach(), torch.autograd.grad(loss, leaf)[0]


@pytest.mark.parametrize("reset", RESETS)
@pytest.mark.parametrize("thresholds", LEVELS, ids=lambda levels: f"K={len(levels)}")
@settings(max_examples=25, deadline=None)
@given(
    st.integers(1, 5),
    st.floats(0, 1),
    st.sampled_from(sorted(SLOPES)),
    st.integers(0, 10**6),
)
def test_agrees_with_the_loop(thresholds, reset, time_steps, decay, surrogate, seed):
    current, of_spikes = drawn(time_steps, 30, seed=seed)
    of_distances = torch.randn(time_steps, len(thresholds), 30, generator=torch.Generator().manual_seed(seed))
    made = MLF(thresholds, decay), parse_surrogate(surrogate), reset == "attached"
    found = both(lambda x: fire_watched(x, time_steps, *made), current, of_spikes, of_distances.double())
    expected = both(
        lambda x: plain(x, thresholds, decay, SLOPES[surrogate], reset),
        *(current, of_spikes, of_distances.double()),
    )
    assert torch.equal(found[0], expected[0])
    for one, other in zip(found[1:], expected[1:], strict=True):
        torch.testing.assert_close(one, other, atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_spikes_and_their_gradient_are_those_without_watching(dtype):
    """Bit for bit, where nothing pulls at the membranes; and a pull alone has a gradient."""
    current, weights = (each.to(dtype) for each in drawn(4, 2, 3, 4, 5))
    settings_ = MLF(), parse_surrogate("atan"), None, "attached"
    leaf, other = (current.clone().requires_grad_() for _ in range(2))
    spikes, distances = fire_levels_watched(leaf, settings_[0], settings_[1], "attached")
    expected = fire_levels(other, *settings_)
    assert torch.equal(spikes, expected) and spikes.dtype == dtype and distances.dtype == torch.float32
    first = torch.autograd.grad((spikes * weights).sum(), leaf, retain_graph=True)[0]
    assert torch.equal(first, torch.autograd.grad((expected * weights).sum(), other)[0])
    alone = torch.autograd.grad(distances.sum(), leaf)[0]
    assert alone.dtype == dtype and alone.isfinite().all() and alone.abs().max() > 0


@pytest.mark.parametrize("shape", [(4, 2, 3, 4, 5), (4, 3, 5), (4, 6)], ids=len)
@pytest.mark.parametrize("last", [False, True])
def test_distances_have_their_channels_last_in_either_memory_format(shape, last):
    current, _ = drawn(*shape)
    if last and current.ndim == 5:
        current = current.movedim(2, -1).contiguous().movedim(-1, 2)
    spikes, distances = fire_levels_watched(current, MLF(), parse_surrogate("atan"), "attached")
    expected = plain(current, MLF().thresholds, 0.25, SLOPES["atan(alpha=2)"], "attached")[1]
    assert spikes.stride() == current.stride()
    torch.testing.assert_close(
        distances, expected.movedim(3, -1) if current.ndim > 2 else expected[..., None]
    )


@needs_compiler
@pytest.mark.parametrize("thresholds", LEVELS, ids=lambda levels: f"K={len(levels)}")
def test_the_compiled_tier_agrees_and_keeps_the_current_alone(monkeypatch, thresholds):
    current, of_spikes = drawn(3, 50, 4, dtype=torch.float32)
    of_distances = torch.randn(3, len(thresholds), 50, 4)
    made, found, kept = (MLF(thresholds), parse_surrogate("triangle"), True), [], {}

    def pack(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor.numel()
        return tensor

    for tier in (everything_compiled, lambda patch: patch.setenv("PURESPIKE_COMPILE", "0")):
        with monkeypatch.context() as patch, no_fallback():
            tier(patch)
            found.append(both(lambda x: fire_watched(x, 3, *made), current, of_spikes, of_distances))
            with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
                fire_watched(current.clone().requires_grad_(), 3, *made)
            assert sum(kept.values()) == current.numel()
            kept.clear()
    assert torch.equal(found[0][0], found[1][0])
    for one, other in zip(found[0][1:], found[1][1:], strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)


def test_surrogates_with_a_gradient_of_another_kind_are_left_to_the_loop():
    known = [parse_surrogate(name) for name in ("rectangle", "triangle", "atan", "straightthrough")]
    assert all(map(watchable, known))
    assert not any(watchable(parse_surrogate(name)) for name in ("hart", "bptr", "ratebased", "assg", "pdsg"))
    neurons = SpikingNeuron("mlf", "hart")
    neurons.watched = True
    neurons(torch.ones(2, 3))
    assert neurons.distances is None
