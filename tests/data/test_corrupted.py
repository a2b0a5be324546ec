"""Corrupted images in the layout of CIFAR-10-C, written here as its description says."""

import numpy as np
import pytest
import torch

from purespike import InputError
from purespike.data.corrupted import read_corruptions
from purespike.results.corruption import CORRUPTIONS

N, SIDE = 12, 4


def pixel(corruption, severity, image):
    """A value that says where it comes from."""
    return 100 * corruption + 20 * (severity - 1) + image


def write(folder, names=("fog", "snow"), *, colour=True):
    folder.mkdir(exist_ok=True)
    for kind, name in enumerate(names):
        values = [pixel(kind, severity, image) for severity in range(1, 6) for image in range(N)]
        shape = (5 * N, SIDE, SIDE, 3) if colour else (5 * N, SIDE, SIDE)
        filled = np.broadcast_to(np.array(values, np.uint8).reshape(-1, *[1] * (len(shape) - 1)), shape)
        np.save(folder / f"{name}.npy", filled)
    np.save(folder / "labels.npy", np.tile(np.arange(N) % 3, 5))
    return folder


@pytest.mark.parametrize("colour", [True, False])
def test_an_image_is_found_by_corruption_severity_and_number(tmp_path, colour):
    corruptions = read_corruptions(write(tmp_path / "digits-c", colour=colour))
    assert corruptions.names == ("fog", "snow") and corruptions.name == "digits-c"
    for kind, name in enumerate(corruptions.names):
        for severity in range(1, 6):
            found = corruptions.images(name, severity, torch.tensor([0, 7, 11]))
            assert found.images.shape == (3, 3 if colour else 1, SIDE, SIDE)
            assert found.images[:, 0, 0, 0].tolist() == [pixel(kind, severity, each) for each in (0, 7, 11)]
            assert found.labels.tolist() == [0, 1, 2]


def test_mixed_images_are_each_there_once_and_kinds_equally_often(tmp_path):
    corruptions = read_corruptions(write(tmp_path))
    mixed = corruptions.mixed(torch.arange(N), seed=0)
    values = mixed.images[:, 0, 0, 0].tolist()
    kinds = [(value - image) // 20 for image, value in enumerate(values)]
    assert [value % 20 for value in values] == list(range(N))
    counts = np.bincount(kinds, minlength=10)
    assert counts.min() == 1 and counts.max() == 2
    assert torch.equal(mixed.images, corruptions.mixed(torch.arange(N), seed=0).images)
    assert not torch.equal(mixed.images, corruptions.mixed(torch.arange(N), seed=1).images)


def test_the_names_are_those_of_cifar_10_c():
    assert len(CORRUPTIONS) == len(set(CORRUPTIONS)) == 19 and list(CORRUPTIONS) == sorted(CORRUPTIONS)


def images(shape, kind=np.uint8):
    return np.zeros(shape, kind)


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("fog", images((60, 4, 4, 3), np.float32), "must be uint8 .* got float32"),
        ("fog", images((60, 3, 4, 4)), r"got shape \[60, 3, 4, 4\]"),
        ("fog", images((60, 4)), r"got shape \[60, 4\]"),
        ("fog", images((50, 4, 4, 3)), "holds 50 images, but labels.npy 60 labels"),
        ("snow", images((60, 5, 4, 3)), r"is \[60, 5, 4, 3\], but fog.npy is \[60, 4, 4, 3\]"),
        ("labels", images(61, np.int64), "holds 61 labels, not n for each of 5"),
        ("labels", images(0, np.int64), "holds 0 labels"),
        ("labels", np.arange(60), "the labels of the 5 severities differ"),
        ("labels", -np.ones(60, np.int64), "a label is -1"),
        ("labels", images(60, np.float32), "must hold integer labels"),
        ("labels", np.array([{}], dtype=object), "cannot be read as npy"),
    ],
)
def test_a_malformed_file_is_one_line_that_names_it(tmp_path, name, array, message):
    write(tmp_path)
    np.save(tmp_path / f"{name}.npy", array)
    with pytest.raises(InputError, match=message) as raised:
        read_corruptions(tmp_path)
    assert f"{name}.npy: " in str(raised.value) and "\n" not in str(raised.value)


def test_damaged_and_missing_files(tmp_path):
    write(tmp_path / "c")
    whole = (tmp_path / "c" / "fog.npy").read_bytes()
    for content in (whole[:-7], whole[:30], b"", b"PK\3\4"):
        (tmp_path / "c" / "fog.npy").write_bytes(content)
        with pytest.raises(InputError, match=r"fog\.npy: cannot be read as npy"):
            read_corruptions(tmp_path / "c")
    (tmp_path / "c" / "fog.npy").write_bytes(whole)
    (tmp_path / "c" / "labels.npy").unlink()
    with pytest.raises(InputError, match=r"labels\.npy: no such file; it holds the labels"):
        read_corruptions(tmp_path / "c")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"no CORRUPTION\.npy, e\.g\. fog\.npy"):
        read_corruptions(tmp_path / "empty")
    with pytest.raises(InputError, match="no such folder"):
        read_corruptions(tmp_path / "nowhere")
