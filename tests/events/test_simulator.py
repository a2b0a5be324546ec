"""The simulated camera against what a camera does."""

import numpy as np
import pytest

from purespike.errors import InputError
from purespike.events import Camera, Path, saccades

QUIET = Camera(noise=0, mismatch=0, on=0.25, off=0.25)


def pictures(count=3, side=8, seed=0):
    return np.random.default_rng(seed).random((count, side, side)).round(2)


def line(*offsets, step=1000):
    return Path(tuple(offsets), tuple(step * number for number in range(len(offsets))))


def balance(events, shape):
    """ON minus OFF events of each pixel."""
    total = np.zeros(shape, int)
    np.add.at(total, (events["y"], events["x"]), np.where(events["p"], 1, -1))
    return total


def test_without_motion_there_is_noise_alone():
    still = line((0, 0), (0, 0), (0, 0), step=500_000)
    assert [len(events) for events in QUIET(pictures(), still)] == [0, 0, 0]
    found = Camera(noise=20, margin=0)(pictures(40), still)
    # 20 a second from each of 64 pixels in one second
    assert np.mean([len(events) for events in found]) == pytest.approx(1280, rel=0.02)


def test_events_add_up_to_the_change_of_the_log_intensity():
    images, path = pictures(), line((0, 0), (0.3, 0.4), (1, 1), (1, 2))
    for image, events in zip(images, QUIET(images, path), strict=True):
        before = np.log(np.pad(image, 2) + QUIET.dark)
        after = np.roll(before, (1, 2), (0, 1))
        error = QUIET.on * balance(events, before.shape) - (after - before)
        assert np.abs(error).max() < QUIET.on + 1e-4


def test_the_way_back_swaps_polarities():
    there, back = line((0, 0), (0, 1), (0, 2)), line((0, 2), (0, 1), (0, 0))
    image = pictures(1)
    (one,), (other,) = QUIET(image, there), QUIET(image, back)
    shape = (12, 12)
    assert np.abs(balance(one, shape) + balance(other, shape)).max() <= 1 and len(one) > 50


def test_times_rise_and_are_interpolated():
    image = np.zeros((1, 1, 3))
    image[0, 0, 0] = 1
    (events,) = QUIET(image, line((0, 0), (0, 1), step=10_000))
    brighter = events[(events["x"] == 3) & (events["y"] == 2)]["t"]
    assert (np.diff(events["t"]) >= 0).all() and len(brighter) == 9
    # log(0.1) to log(1.1) evenly: the n-th of steps of 0.25 comes at 0.25 n of 2.398
    assert brighter == pytest.approx([10_000 * 0.25 * n / np.log(11) for n in range(1, 10)], abs=2)


def test_a_recording_depends_on_its_image_and_the_seed_alone():
    images, path = pictures(), saccades(steps=2)
    together, alone = Camera()(images, path), [Camera()(image[None], path)[0] for image in images]
    assert all(np.array_equal(one, other) for one, other in zip(together, alone, strict=True))
    assert not np.array_equal(Camera(seed=1)(images, path)[0], together[0])


def test_saccades_come_back():
    path = saccades(amplitude=4, duration=100, steps=4)
    assert len(path.offsets) == 13 and path.times[-1] == 300
    assert path.offsets[0] == path.offsets[-1] == (-2, -2)
    assert path.offsets[4] == (-2, 2) and path.offsets[8] == (2, 0)
    sizes = np.abs(np.diff(np.array(path.offsets), axis=0)).max(1)
    assert sizes.max() <= 1.0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Camera(on=0), "camera: on"),
        (lambda: Camera(noise=-1), "camera: noise"),
        (lambda: Camera()(np.zeros((2, 2)), saccades()), r"floats \[N, H, W\]"),
        (lambda: Camera()(np.full((1, 2, 2), 2.0), saccades()), r"lie in \[0, 1\]"),
        (lambda: Path(((0, 0),), (0,)), "at least two offsets"),
        (lambda: Path(((0, 0), (1, 1)), (5, 5)), "times must rise"),
        (lambda: saccades(corners=(0, 3)), "corners are 0, 1 and 2"),
        (lambda: saccades(amplitude=0), "amplitude"),
    ],
)
def test_bad_input(make, message):
    with pytest.raises(InputError, match=message):
        make()
