"""Counts are right at the ends: the shortest frames, the latest times, files without an event."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from purespike.errors import InputError
from purespike.events import Binning, read_nmnist
from purespike.events.formats import EVENT, LATEST, as_events


@given(steps=st.integers(1, 9), duration=st.integers(1, 40), start=st.integers(0, 5), seed=st.integers(0, 99))
def test_a_recording_of_an_image_has_its_counts(steps, duration, start, seed):
    binning = Binning(steps=steps, height=3, width=2, cap=5, start=start, duration=duration)
    counts = np.random.default_rng(seed).integers(0, 6, binning.shape)
    image = torch.from_numpy((counts * 51).astype(np.uint8))
    if duration < steps and image.any():
        frames = {t * steps // duration for t in range(duration)}
        used = {int(frame) for frame in np.nonzero(counts)[0] // 2}
        if not used <= frames:
            with pytest.raises(InputError, match="hold no whole µs"):
                binning.events(image)
            return
    assert torch.equal(binning.image(binning.events(image)), image)


def test_late_events_are_all_counted():
    events = np.zeros(11, EVENT)
    events["t"] = np.linspace(0, LATEST, 11)
    counts = Binning(steps=10, height=4, width=4, cap=255).counts(as_events(events))
    assert counts.sum() == 11 and counts[::2, 0, 0].min() >= 1
    events["t"] = LATEST + 1
    with pytest.raises(InputError, match="t must lie in 0 to"):
        as_events(events)
    with pytest.raises(InputError, match="steps: at most"):
        Binning(steps=2**20, height=1, width=1)


def test_an_empty_file_is_no_recording(tmp_path):
    (tmp_path / "a.bin").touch()
    with pytest.raises(InputError, match=r"a\.bin: is empty"):
        read_nmnist(tmp_path / "a.bin")
