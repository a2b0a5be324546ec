"""Streams of random numbers: named, repeatable, and apart from each other."""

import contextlib

import torch
from hypothesis import given
from hypothesis import strategies as st

from purespike.seeding import derive, generator, seeded

PARTS = st.lists(st.one_of(st.integers(0, 10**6), st.sampled_from(["order", "augment", "pgd"])), min_size=1)


@given(PARTS, PARTS)
def test_other_names_are_other_streams(first, second):
    assert (derive(*first) == derive(*second)) == (first == second)


@given(PARTS)
def test_a_seed_is_one_that_torch_takes(parts):
    assert 0 <= derive(*parts) < 2**63
    generator(*parts)


def test_streams_do_not_overlap():
    draws = [torch.randint(2**62, (50,), generator=generator(seed, "order", 1)) for seed in range(20)]
    assert len(torch.cat(draws).unique()) == 1000


def test_a_stream_depends_on_nothing_drawn_before():
    first = torch.rand(5, generator=generator(1, "a"))
    torch.manual_seed(3)
    torch.rand(100)
    assert torch.equal(torch.rand(5, generator=generator(1, "a")), first)


def test_a_stream_leaves_the_global_one_alone():
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    torch.rand(9, generator=generator(1))
    assert torch.equal(torch.rand(3), expected)


def test_a_gpu_without_a_number_is_the_current_one(monkeypatch):
    asked = []
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 1)
    monkeypatch.setattr(torch.cuda, "device", lambda gpu: contextlib.nullcontext())
    monkeypatch.setattr(torch.cuda, "manual_seed", lambda seed: None)
    monkeypatch.setattr(
        torch.random, "fork_rng", lambda devices: asked.append(devices) or contextlib.nullcontext()
    )
    for name in ("cuda", "cuda:0", "cuda:1"):
        with seeded(3, device=torch.device(name)):
            pass
    assert asked == [[1], [0, 1], [1]]
