"""Attacks on the event list: budgets hold on the list itself, and the verdict is that on its own frames."""

import numpy as np
import pytest
import torch
from torch import nn

from purespike.attacks import EventListAttack
from purespike.errors import InputError
from purespike.events import Binning

BINNING = Binning(steps=4, height=6, width=6, start=0, duration=4000)
CLASSES = 3


def recordings(count, seed, *, cap=1):
    """Events of a pattern per class, and the classes."""
    binning = Binning(steps=4, height=6, width=6, cap=cap, start=0, duration=4000)
    fixed = torch.Generator().manual_seed(9)
    # classes differ in a few bins of many, so that few events matter
    common = torch.rand(binning.shape, generator=fixed) < 0.3
    patterns = common ^ (torch.rand(CLASSES, *binning.shape, generator=fixed) < 0.03)
    draws = np.random.default_rng(seed)
    labels = torch.from_numpy(draws.integers(0, CLASSES, count))
    lists = []
    for label in labels.tolist():
        frames = patterns[label].numpy() ^ (draws.random(binning.shape) < 0.04)
        events = binning.events(torch.from_numpy(frames.astype(np.uint8) * (255 // cap)))
        events["t"] += draws.integers(-400, 400, len(events))
        lists.append(np.sort(events, order="t", kind="stable"))
    return lists, labels


def frames(lists, binning=BINNING):
    return torch.stack([binning.image(events) for events in lists]).float() / 255


@pytest.fixture(scope="module")
def linear():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(int(np.prod(BINNING.shape)), CLASSES))
    optimiser = torch.optim.Adam(model.parameters(), lr=0.02)
    for step in range(60):
        lists, labels = recordings(32, 100 + step)
        loss = nn.functional.cross_entropy(model(frames(lists)), labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return model.eval()


def changes(clean, found):
    """Events of ``clean`` without a place in ``found``, and the reverse, place and polarity alone."""
    count = {}
    for sign, events in ((1, clean), (-1, found)):
        for x, y, _, p in events.tolist():
            count[x, y, p] = count.get((x, y, p), 0) + sign
    values = count.values()
    return sum(v for v in values if v > 0), -sum(v for v in values if v < 0)


def farthest(clean, found):
    """Smallest bound on the shift of events, if ``found`` is ``clean`` with other times: pixel by pixel."""
    most = 0
    for place in {(x, y, p) for x, y, _, p in clean.tolist()}:
        one, other = (
            sorted(t for x, y, t, p in events.tolist() if (x, y, p) == place) for events in (clean, found)
        )
        most = max(most, *(abs(a - b) for a, b in zip(one, other, strict=True)))
    return most


@pytest.mark.parametrize(
    "means",
    [
        {"drop": 0.1},
        {"inject": 6},
        {"shift": 700},
        {"drop": 0.05, "inject": 4, "shift": 300},
    ],
    ids=str,
)
def test_budgets_hold_on_the_list(means, linear):
    lists, labels = recordings(24, 1)
    attack = EventListAttack(steps=8, **means)
    found = attack(linear, lists, labels, BINNING)
    assert torch.equal(found.images, frames(found.events))
    assert torch.equal(found.success, linear(found.images).argmax(1) != labels)
    clean_errors = int((linear(frames(lists)).argmax(1) != labels).sum())
    assert int(found.success.sum()) > clean_errors
    for clean, changed, *counts in zip(
        lists, found.events, found.dropped, found.injected, found.shifted, strict=True
    ):
        dropped, injected, shifted = counts
        gone, new = changes(clean, changed)
        assert len(changed) == len(clean) - dropped + injected
        assert gone <= dropped <= means.get("drop", 0) * len(clean) and new <= injected <= means.get(
            "inject", 0
        )
        assert (
            (changed["t"] >= 0).all() and (changed["t"] < 4000).all() and (np.diff(changed["t"]) >= 0).all()
        )
        assert shifted == 0 or "shift" in means
        if set(means) == {"shift"}:
            assert gone == new == 0 and farthest(clean, changed) <= means["shift"]


def test_more_means_break_more(linear):
    lists, labels = recordings(30, 2)
    for weak, strong in (
        ({"drop": 0.02}, {"drop": 0.3}),
        ({"inject": 1}, {"inject": 12}),
        ({"shift": 50}, {"shift": 2000}),
    ):
        one, other = (
            int(EventListAttack(**each)(linear, lists, labels, BINNING).success.sum())
            for each in (weak, strong)
        )
        assert one < other


def test_it_is_deterministic_and_each_recording_is_attacked_by_itself(linear):
    lists, labels = recordings(6, 3)
    attack = EventListAttack(drop=0.1, inject=3, shift=200, steps=4)
    together = attack(linear, lists, labels, BINNING)
    for row in range(6):
        alone = attack(linear, lists[row : row + 1], labels[row : row + 1], BINNING)
        assert np.array_equal(alone.events[0], together.events[row])
    untouched, _ = recordings(6, 3)
    assert all(np.array_equal(one, other) for one, other in zip(lists, untouched, strict=True))


def test_injected_events_fill_a_bin_up_to_the_cap(linear):
    binning = Binning(steps=4, height=6, width=6, cap=5, start=0, duration=4000)
    lists, labels = recordings(8, 4, cap=5)
    found = EventListAttack(inject=9)(linear, lists, labels, binning)
    assert max(found.injected) == 9
    # the best bin takes as many as it can hold
    risen = (found.images - frames(lists, binning)).flatten(1).amax(1) * 5
    assert risen.round().max() >= 4


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "give drop, inject or shift"),
        ({"drop": 1.5}, r"share of the events in \[0, 1\]"),
        ({"inject": -1}, "inject"),
        ({"shift": 0.5}, "shift"),
        ({"inject": 1, "loss": "cee"}, "unknown attack loss"),
    ],
)
def test_bad_settings(settings, message):
    with pytest.raises(InputError, match=message):
        EventListAttack(**settings)


def test_bad_input(linear):
    lists, labels = recordings(2, 5)
    lists[1]["x"][3] = 6
    with pytest.raises(InputError, match="recording 1: event 3 has x = 6, outside a sensor of 6×6"):
        EventListAttack(inject=1)(linear, lists, labels, BINNING)
    with pytest.raises(InputError, match="labels: expected shape"):
        EventListAttack(inject=1)(linear, lists[:1], labels, BINNING)
