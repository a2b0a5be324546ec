"""Sources of event frames: the simulated digits, and folders of files in every format."""

import numpy as np
import pytest
import torch

from purespike.data import load_data, load_images
from purespike.data.events import DIGITS, record_digits
from purespike.errors import InputError
from purespike.events import EVENT

from .files import aedat2, aedat3, aedat3_packet, nmnist

EVENTS = [(0, 0, 1, 1), (33, 5, 8000, 0), (2, 33, 9000, 1), (7, 7, 20000, 0)]


def test_digits_before_the_camera():
    data = load_data("digits-events")
    assert data.train.images.shape == (1437, 6, 20, 20) and len(data.test) == 360
    assert set(data.train.images.unique().tolist()) == {0, 255}
    # the same on every machine
    assert data.train.fingerprint().startswith("2a48eb5d72edf790")
    counts = load_data("digits-events-counts")
    assert set(counts.test.images.unique().tolist()) == {0, 51, 102, 153, 204, 255}
    assert torch.equal((counts.test.images > 0) * 255, data.test.images.long())
    # the same digits in the same order as without a camera
    assert torch.equal(data.test.labels, load_data("digits16").test.labels)
    _, test = record_digits()
    assert torch.equal(DIGITS.image(test.events[7]), data.test.images[7])


def folder(tmp_path, suffix, content, names=("train", "test")):
    for split in names:
        for label in ("0", "1"):
            place = tmp_path / split / label
            place.mkdir(parents=True)
            for number in range(2):
                (place / f"{number}{suffix}").write_bytes(content)
    return tmp_path


@pytest.mark.parametrize(
    ("suffix", "content", "names", "side"),
    [
        (".bin", nmnist(EVENTS, wraps=(2,)), ("Train", "Test"), 34),
        (".aedat", aedat2(EVENTS), ("train", "test"), 128),
        (".aedat", aedat3(aedat3_packet(EVENTS)), ("train", "test"), 128),
    ],
)
def test_folders_of_files(tmp_path, suffix, content, names, side):
    data = load_data(f"events:{folder(tmp_path, suffix, content, names)}:steps=5:cap=3")
    assert data.train.images.shape == (4, 10, side, side) and data.train.class_names == ("0", "1")
    frames = data.test.images[0]
    # 20 ms in five frames of 4 ms from the first event on
    for x, y, t, p in EVENTS:
        assert frames[2 * ((t - 1) // 4000) + p, y, x] == 85
    assert frames.sum() == 4 * 85 and data.test.labels.tolist() == [0, 0, 1, 1]


def test_numpy_files_say_how_large_the_sensor_is(tmp_path):
    for split, most in (("train", 9), ("test", 11)):
        for label in ("a", "b"):
            place = tmp_path / split / label
            place.mkdir(parents=True)
            np.save(place / "0.npy", np.array([(0, 0, 0, 1), (most, 3, 50, 0)], EVENT))
    with pytest.raises(InputError, match=r"test/a/0\.npy: events: .*outside a sensor of 10×10; name it"):
        load_data(f"events:{tmp_path}")
    # advice that was followed is not given again
    with pytest.raises(InputError, match=r"outside a sensor of 4×4; name a larger one, e.g. .*:sensor=128"):
        load_data(f"events:{tmp_path}:sensor=4")
    assert load_data(f"events:{tmp_path}:sensor=12:pool=2").train.images.shape == (2, 20, 6, 6)
    assert load_images(f"events:{tmp_path}:sensor=12:steps=2", split="all").images.shape == (4, 4, 12, 12)


def test_dvs128_gestures(tmp_path):
    labels = "class,startTime_usec,endTime_usec\n" + "".join(
        f"{c},{10 * c},{10 * c + 9}\n" for c in range(1, 12)
    )
    for name in ("user1", "user2"):
        events = [(c, c, 10 * c + 5, 1) for c in range(1, 12)]
        (tmp_path / f"{name}.aedat").write_bytes(aedat3(aedat3_packet(events)))
        (tmp_path / f"{name}_labels.csv").write_text(labels)
    (tmp_path / "trials_to_train.txt").write_text("user1.aedat\n\n")
    (tmp_path / "trials_to_test.txt").write_text("user2.aedat\n")
    data = load_data(f"events:{tmp_path}:steps=2:pool=8")
    assert data.train.images.shape == (11, 4, 16, 16) and data.train.labels.tolist() == list(range(11))
    assert data.test.class_names[7] == "arm_roll"


def test_malformed_folders(tmp_path):
    with pytest.raises(InputError, match="no such folder; an event folder holds train/CLASS"):
        load_data(f"events:{tmp_path}/none")
    with pytest.raises(InputError, match="no folder train/"):
        load_data(f"events:{tmp_path}")
    (tmp_path / "train" / "a").mkdir(parents=True)
    with pytest.raises(InputError, match="train: no event files"):
        load_data(f"events:{tmp_path}")
    for text, message in (
        ("stepps=3", "did you mean 'steps'"),
        ("cap=4", "cap must be a divisor"),
        ("steps=0.5", "whole number"),
    ):
        with pytest.raises(InputError, match=message):
            load_data(f"events:{folder(tmp_path / text, '.bin', nmnist(EVENTS))}:{text}")
    broken = folder(tmp_path / "broken", ".bin", nmnist(EVENTS)[:-1])
    with pytest.raises(InputError, match=r"train/0/0.bin: 19 bytes are no whole number"):
        load_data(f"events:{broken}")


def test_frames_that_fit_in_no_memory_are_refused_before_any_file_is_read(tmp_path):
    place = folder(tmp_path, ".bin", b"not read")
    with pytest.raises(InputError, match=r"4 recordings as 40000×1000×1000 frames take 149\.0 GiB") as raised:
        load_data(f"events:{place}:steps=20000:sensor=1000")
    assert "more than 16; ask for fewer steps, or for pool=2" in str(raised.value)
