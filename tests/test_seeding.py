"""Streams of random numbers: named, repeatable, and apart from each other."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from purespike.seeding import derive, generator

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
