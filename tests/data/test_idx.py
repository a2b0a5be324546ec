"""idx files, written here as their description says: magic number, sizes, bytes."""

import gzip
import struct
import sys

import numpy as np
import pytest

from purespike import InputError, cli
from purespike.data import load_data, load_images

NAMES = {
    ("train", "images"): "train-images-idx3-ubyte",
    ("train", "labels"): "train-labels-idx1-ubyte",
    ("test", "images"): "t10k-images-idx3-ubyte",
    ("test", "labels"): "t10k-labels-idx1-ubyte",
}


def idx(array, kind=0x08):
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, kind, array.ndim, *array.shape) + array.tobytes()


def arrays():
    draw = np.random.default_rng(0)
    return {
        ("train", "images"): draw.integers(0, 256, (12, 5, 4), dtype=np.uint8),
        ("train", "labels"): (np.arange(12) % 3).astype(np.uint8),
        ("test", "images"): draw.integers(0, 256, (6, 5, 4), dtype=np.uint8),
        ("test", "labels"): (np.arange(6) % 3).astype(np.uint8),
    }


def write(folder, *, prefix="", packed=(), dotted=False):
    folder.mkdir(exist_ok=True)
    for key, array in arrays().items():
        name = prefix + NAMES[key]
        name = name.replace("-idx", ".idx") if dotted else name
        if key in packed:
            (folder / f"{name}.gz").write_bytes(gzip.compress(idx(array)))
        else:
            (folder / name).write_bytes(idx(array))
    return folder


@pytest.mark.parametrize("packed", [(), tuple(NAMES), (("train", "images"),)])
def test_pixels_and_labels_come_back(tmp_path, packed):
    folder = write(tmp_path / "digits", packed=packed, dotted=packed == ())
    data, expected = load_data(f"idx:{folder}"), arrays()
    for split, found in (("train", data.train), ("test", data.test)):
        np.testing.assert_array_equal(found.images[:, 0].numpy(), expected[split, "images"])
        assert found.labels.tolist() == expected[split, "labels"].tolist()
        assert found.name == f"digits/{split}" and found.class_names == ("0", "1", "2")


def test_a_name_before_the_files_names(tmp_path):
    write(tmp_path, prefix="emnist-letters-", packed=tuple(NAMES))
    (tmp_path / "emnist-letters-t10k-labels-idx1-ubyte.gz").rename(
        tmp_path / "emnist-letters-test-labels-idx1-ubyte.gz"
    )
    assert len(load_images(f"idx:{tmp_path}/emnist-letters")) == 6


def damaged(folder, key, content, suffix=""):
    path = folder / f"{NAMES[key]}{suffix}"
    path.write_bytes(content)
    return path


IMAGES, LABELS = ("train", "images"), ("test", "labels")
SOUND = idx(arrays()[IMAGES])


@pytest.mark.parametrize(
    ("key", "content", "message"),
    [
        (IMAGES, b"", r"not an idx file \(it begins with nothing\)"),
        (IMAGES, b"PK\3\4" + SOUND, r"not an idx file \(it begins with 50 4b 03 04\)"),
        (IMAGES, gzip.compress(SOUND), r"it is a gzip file: name it \.gz"),
        (IMAGES, idx(arrays()[LABELS]), r"has 1 dimensions, not the 3 of images \[N, H, W\]"),
        (LABELS, SOUND, r"has 3 dimensions, not the 1 of labels \[N\]"),
        (IMAGES, idx(arrays()[IMAGES].astype(np.float32), 0x0D), "holds float32, not unsigned bytes"),
        (IMAGES, SOUND[:10], "ends within its header"),
        (IMAGES, SOUND[:-1], "12 × 5 × 4 = 240 bytes, but there are only 239"),
        (IMAGES, SOUND + b"1", "= 240 bytes, but there are more"),
        (IMAGES, struct.pack(">BBBB3I", 0, 0, 8, 3, 2**31, 2**31, 2**31), "but there are only 0"),
        (IMAGES, struct.pack(">BBBB3I", 0, 0, 8, 3, 0, 5, 4), r"holds nothing, its sizes are \[0, 5, 4\]"),
        (LABELS, idx(np.zeros(5, np.uint8)), "5 labels for the 6 images of t10k-images-idx3-ubyte"),
    ],
    ids=lambda value: None if isinstance(value, str) else "content",
)
def test_a_damaged_file_is_one_line_that_names_it(tmp_path, key, content, message):
    path = damaged(write(tmp_path), key, content)
    with pytest.raises(InputError, match=message) as raised:
        load_data(f"idx:{tmp_path}")
    assert str(raised.value).startswith(str(path)) and "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (gzip.compress(SOUND)[:-12], "cannot be unpacked"),
        (SOUND, "cannot be unpacked"),
        (gzip.compress(SOUND + b"1"), "= 240 bytes, but there are more"),
        # a header that promises terabytes must not cost memory
        (gzip.compress(struct.pack(">BBBB3I", 0, 0, 8, 3, 2**31, 2**20, 2**20)), "would unpack from"),
    ],
    # a gzip file holds the second it was written in, and processes that share the tests agree on their names
    ids=["cut short", "not gzip", "too much", "terabytes"],
)
def test_a_damaged_gz_file_is_one_line_that_names_it(tmp_path, content, message):
    write(tmp_path, packed=(IMAGES,))
    path = damaged(tmp_path, IMAGES, content, ".gz")
    with pytest.raises(InputError, match=message) as raised:
        load_data(f"idx:{tmp_path}")
    assert str(raised.value).startswith(str(path)) and "\n" not in str(raised.value)


def test_missing_files_and_folders(tmp_path):
    write(tmp_path)
    (tmp_path / NAMES[LABELS]).unlink()
    with pytest.raises(InputError, match=r"t10k-labels-idx1-ubyte: no such file; idx:PATH reads"):
        load_data(f"idx:{tmp_path}")
    with pytest.raises(InputError, match=r"no such folder; idx:PATH reads"):
        load_data(f"idx:{tmp_path}/nowhere/mnist")
    (tmp_path / f"{NAMES[IMAGES]}.gz").write_bytes(gzip.compress(SOUND))
    with pytest.raises(InputError, match=r"both train-images-idx3-ubyte and train-images-idx3-ubyte\.gz"):
        load_data(f"idx:{tmp_path}")


def test_the_command_line_takes_them(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["purespike", "evaluate", "nowhere.safetensors", "--data", "idx:/x"])
    with pytest.raises(SystemExit) as left:
        cli.main()
    # the source is known: the model is what is missing
    assert left.value.code == 2 and "nowhere.safetensors: no such checkpoint" in capsys.readouterr().err
