"""Frames of counts against a plain loop; there and back keeps every count."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from purespike.errors import InputError
from purespike.events import EVENT, Binning
from purespike.events.binning import CAPS


def drawn(count, seed, *, side=5, duration=100):
    draws = np.random.default_rng(seed)
    events = np.empty(count, EVENT)
    for field, most in (("x", side), ("y", side), ("t", duration), ("p", 2)):
        events[field] = draws.integers(0, most, count)
    return events


@settings(max_examples=80, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    count=st.integers(0, 60),
    steps=st.integers(1, 7),
    cap=st.sampled_from(CAPS),
    start=st.sampled_from([None, 0, 13]),
    duration=st.sampled_from([None, 40, 100]),
)
def test_counts_are_those_of_a_loop(seed, count, steps, cap, start, duration):
    events = drawn(count, seed)
    binning = Binning(steps=steps, height=5, width=5, cap=cap, start=start, duration=duration)
    times = [int(t) for t in events["t"]] or [0, steps - 1]
    first = min(times) if start is None else start
    length = max(max(times) - first + 1, 1) if duration is None else duration
    expected = np.zeros((2 * steps, 5, 5), int)
    for x, y, t, p in events.tolist():
        if first <= t < first + length:
            expected[2 * ((t - first) * steps // length) + p, y, x] += 1
    assert np.array_equal(binning.counts(events), expected)
    image = binning.image(events)
    assert image.dtype == torch.uint8 and image.shape == binning.shape
    # a level of 8 bits is exactly a count over the cap
    shares = image.float() / 255
    assert torch.equal(shares, torch.from_numpy(np.minimum(expected, cap) / cap).float())


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**31), steps=st.integers(1, 6), start=st.sampled_from([None, 0, 70]))
def test_frames_to_events_and_back(seed, steps, start):
    binning = Binning(steps=steps, height=4, width=6, cap=5, start=start, duration=1000)
    counts = torch.randint(0, 6, binning.shape, generator=torch.Generator().manual_seed(seed))
    image = (counts * 51).to(torch.uint8)
    events = binning.events(image)
    assert len(events) == counts.sum() and (np.diff(events["t"]) >= 0).all()
    window = (start or 0, (start or 0) + 1000)
    assert torch.equal(binning.image(events, window=window), image)


def test_pooled_pixels_are_counted_together():
    events = drawn(50, 0, side=4)
    whole = Binning(steps=2, height=4, width=4).counts(events)
    pooled = Binning(steps=2, height=4, width=4, pool=2).counts(events)
    assert np.array_equal(pooled, whole.reshape(4, 2, 2, 2, 2).sum((2, 4)))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"steps": 0}, "steps"),
        ({"cap": 4}, "cap must be a divisor of 255"),
        ({"pool": 2}, "squares of 2 pixels do not cover a sensor of 5×5"),
        ({"duration": 0}, "duration"),
        ({"start": -1}, "start"),
    ],
)
def test_bad_settings(settings, message):
    with pytest.raises(InputError, match=f"binning: .*{message}"):
        Binning(**{"steps": 2, "height": 5, "width": 5} | settings)


def test_bad_input():
    binning = Binning(steps=2, height=4, width=4, cap=5)
    with pytest.raises(InputError, match="outside a sensor of 4×4"):
        binning.counts(drawn(50, 0, side=5))
    with pytest.raises(InputError, match="no whole number of events"):
        binning.events(torch.full(binning.shape, 50, dtype=torch.uint8))
    with pytest.raises(InputError, match="expected uint8"):
        binning.events(torch.zeros(2, 4, 4, dtype=torch.uint8))
