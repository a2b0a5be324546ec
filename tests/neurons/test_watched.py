"""Multi-level firing that tells statistics of its membranes, against plain float64 loops."""

from dataclasses import dataclass

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from purespike.neurons import MLF, SpikingNeuron, parse_surrogate
from purespike.neurons.multi_level import fire_levels, fire_levels_watched
from purespike.neurons.watched import Statistic, fire_watched, watchable
from purespike.training.objectives.overlap import Moments
from purespike.training.objectives.threshold_distance import Shortfall

from .reference import SLOPES, Spike, drawn
from .tiers import everything_compiled, needs_compiler, no_fallback

LEVELS = [(0.6,), (0.6, 1.6, 2.6)]
RESETS = ("attached", "detached")


@dataclass(frozen=True)
class Squares(Statistic):
    """Weighted by step and threshold, so that none is taken for another."""

    def of(self, distances):
        parts = [(1 + t + 3 * k) * u.square() for t, step in enumerate(distances) for k, u in enumerate(step)]
        return torch.stack(parts).sum().view(1)

    def pulls(self, levels, t, steps, value, gradient):
        return [gradient * 2 * (1 + t + 3 * k) * u for k, u in enumerate(levels)]


ASKED = (Squares(), Moments(), Shortfall(0.4))


def plain(current, thresholds, decay, slope, reset):
    """Counts, and the three statistics by their equations, ``current`` ``[T, M, C]``."""
    counts, distances = [], []
    membranes, fired = [0.0] * len(thresholds), [0.0] * len(thresholds)
    for x in current:
        for k, threshold in enumerate(thresholds):
            kept = fired[k].detach() if reset == "detached" and len(counts) else fired[k]
            membranes[k] = decay * membranes[k] * (1 - kept) + x
            fired[k] = Spike.apply(membranes[k] - threshold, slope)
        counts.append(sum(fired))
        distances.append(torch.stack([u - v for u, v in zip(membranes, thresholds, strict=True)]))
    found = torch.stack(distances)
    weights = torch.tensor([[1.0 + t + 3 * k for k in range(len(thresholds))] for t in range(len(current))])
    squares = (weights.double()[..., None, None] * found.square()).sum().view(1)
    moments = torch.stack([found.mean(2), found.var(2, correction=0)])
    shortfall = torch.relu(0.4 - found.abs().amin(1)).mean().view(1)
    return torch.stack(counts), squares, moments, shortfall


def gradient_of(fire, current, of_spikes, seed=0):
    """What ``fire`` returns, and the gradient of a weighted sum of it."""
    leaf, draw = current.clone().requires_grad_(), torch.Generator().manual_seed(seed)
    spikes, *values = fire(leaf)
    loss = (spikes * of_spikes).sum()
    for value in values:
        loss = loss + (value * torch.randn(value.shape, generator=draw, dtype=torch.float64)).sum()
    return spikes.detach(), *(each.detach() for each in values), torch.autograd.grad(loss, leaf)[0]


@pytest.mark.parametrize("reset", RESETS)
@pytest.mark.parametrize("thresholds", LEVELS, ids=lambda levels: f"K={len(levels)}")
@settings(max_examples=25, deadline=None)
@given(st.integers(1, 5), st.floats(0, 1), st.sampled_from(sorted(SLOPES)), st.integers(0, 10**6))
def test_agrees_with_the_loop(thresholds, reset, time_steps, decay, surrogate, seed):
    current, of_spikes = drawn(time_steps, 10, 3, seed=seed)
    made = MLF(thresholds, decay), parse_surrogate(surrogate), ASKED, reset == "attached"
    found = gradient_of(lambda x: fire_watched(x, time_steps, *made), current, of_spikes, seed)
    expected = gradient_of(
        lambda x: plain(x, thresholds, decay, SLOPES[surrogate], reset), current, of_spikes, seed
    )
    assert torch.equal(found[0], expected[0])
    for one, other in zip(found[1:], expected[1:], strict=True):
        torch.testing.assert_close(one, other, atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_spikes_and_their_gradient_are_those_without_watching(dtype):
    """Bit for bit, where nothing pulls at the membranes; and a pull alone has a gradient."""
    current, weights = (each.to(dtype) for each in drawn(4, 2, 3, 4, 5))
    dynamics, surrogate = MLF(), parse_surrogate("atan")
    leaf, other = (current.clone().requires_grad_() for _ in range(2))
    spikes, squares = fire_levels_watched(leaf, dynamics, surrogate, "attached", (Squares(),))
    expected = fire_levels(other, dynamics, surrogate, None, "attached")
    assert torch.equal(spikes, expected) and spikes.dtype == dtype and squares.dtype == torch.float32
    first = torch.autograd.grad((spikes * weights).sum(), leaf, retain_graph=True)[0]
    assert torch.equal(first, torch.autograd.grad((expected * weights).sum(), other)[0])
    alone = torch.autograd.grad(squares.sum(), leaf)[0]
    assert alone.dtype == dtype and alone.isfinite().all() and alone.abs().max() > 0


@pytest.mark.parametrize("shape", [(4, 2, 3, 4, 5), (4, 3, 5), (4, 6)], ids=len)
@pytest.mark.parametrize("last", [False, True])
def test_channels_are_the_third_dimension_in_either_memory_format(shape, last):
    current, _ = drawn(*shape)
    if last and current.ndim == 5:
        current = current.movedim(2, -1).contiguous().movedim(-1, 2)
    spikes, *found = fire_levels_watched(current, MLF(), parse_surrogate("atan"), "attached", ASKED)
    rows = current.movedim(2, -1).flatten(1, -2) if current.ndim > 2 else current[..., None]
    _, *expected = plain(rows, MLF().thresholds, 0.25, SLOPES["atan(alpha=2)"], "attached")
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other)
    assert torch.equal(spikes, fire_levels(current, MLF(), parse_surrogate("atan"), None, "attached"))


@needs_compiler
@pytest.mark.parametrize("thresholds", LEVELS, ids=lambda levels: f"K={len(levels)}")
def test_the_compiled_tier_agrees_and_keeps_little_but_the_current(monkeypatch, thresholds):
    current, of_spikes = drawn(3, 50, 4, dtype=torch.float32)
    asked, found, kept = (Moments(), Shortfall(0.4)), [], {}
    made = MLF(thresholds), parse_surrogate("triangle"), asked

    def pack(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor.numel()
        return tensor

    for tier in (everything_compiled, lambda patch: patch.setenv("PURESPIKE_COMPILE", "0")):
        with monkeypatch.context() as patch, no_fallback():
            tier(patch)
            found.append(gradient_of(lambda x: fire_watched(x, 3, *made), current, of_spikes))
            with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
                fire_watched(current.clone().requires_grad_(), 3, *made)
            assert sum(kept.values()) == current.numel() + 2 * 3 * len(thresholds) * 4 + 1
            kept.clear()
    assert torch.equal(found[0][0], found[1][0])
    for one, other in zip(found[0][1:], found[1][1:], strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)


def test_surrogates_with_a_gradient_of_another_kind_are_left_to_the_loop():
    known = [parse_surrogate(name) for name in ("rectangle", "triangle", "atan", "straightthrough")]
    assert all(map(watchable, known))
    assert not any(watchable(parse_surrogate(name)) for name in ("hart", "bptr", "ratebased", "assg", "pdsg"))
    neurons = SpikingNeuron("mlf", "hart")
    neurons.watched = ASKED
    neurons(torch.ones(2, 3))
    assert not neurons.seen
