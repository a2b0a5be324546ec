import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from purespike.data import load_data, load_images
from purespike.errors import InputError

LABELS = np.array([0, 1, 2, 0, 1, 2])


@pytest.fixture
def write(tmp_path: Path, pixels: Callable[..., np.ndarray]) -> Callable[..., str]:
    """Write a sound pair of files with some arrays replaced (``None``: left out) and return its source."""

    def write_pair(train: dict[str, Any] | None = None, test: dict[str, Any] | None = None) -> str:
        for seed, (split, changes) in enumerate({"train": train, "test": test}.items()):
            content = {"x": pixels(6, seed=seed), "y": LABELS} | (changes or {})
            kept = {key: value for key, value in content.items() if value is not None}
            np.savez(tmp_path / f"toy-{split}.npz", **kept)
        return f"npz:{tmp_path}/toy"

    return write_pair


@pytest.mark.parametrize("suffix", ["", "-train.npz", "-test.npz"])
def test_reads_channels_last(write: Callable[..., str], tmp_path: Path, suffix: str) -> None:
    data = load_data(write() + suffix)
    with np.load(tmp_path / "toy-train.npz") as stored:
        np.testing.assert_array_equal(data.train.images.permute(0, 2, 3, 1), stored["x"])
    assert data.train.images.is_contiguous()
    assert data.train.labels.tolist() == LABELS.tolist()
    assert data.train.class_names == ("0", "1", "2")
    assert (data.train.name, data.test.name) == ("toy/train", "toy/test")


@pytest.mark.parametrize("last", [False, True])
def test_reads_grayscale(write: Callable[..., str], pixels: Callable[..., np.ndarray], last: bool) -> None:
    x = pixels(6, channels=1)
    content = {"x": x[..., None] if last else x}
    data = load_data(write(content, content))
    assert data.train.images.shape == (6, 1, 6, 5)
    np.testing.assert_array_equal(data.test.images[:, 0], x)


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.uint64])
def test_labels_of_any_integer_type(write: Callable[..., str], dtype: type) -> None:
    assert load_data(write({"y": LABELS.astype(dtype)})).train.labels.tolist() == LABELS.tolist()


def test_class_names(write: Callable[..., str]) -> None:
    names = np.array(["cat", "dog", "owl"])
    assert load_data(write({"class_names": names})).test.class_names == ("cat", "dog", "owl")
    with pytest.raises(InputError, match="differ"):
        load_data(write({"class_names": names}, {"class_names": names[::-1]}))
    with pytest.raises(InputError, match="strings"):
        load_data(write({"class_names": np.arange(3)}))
    with pytest.raises(InputError, match=r"toy-train.npz: a label is 2, but there are only 2 classes"):
        load_data(write({"class_names": names[:2]}))
    with pytest.raises(InputError, match=r"no image of class 3 \('elk'\)"):
        load_data(write({"class_names": np.array(["cat", "dog", "owl", "elk"])}))


def test_a_class_without_training_image_is_evaluated_not_trained(write: Callable[..., str]) -> None:
    """Labels stay as they are: the model's fifth logit belongs to label 4, whichever classes have images."""
    for train, test in ((LABELS * 2, LABELS), (LABELS, LABELS + 2), (LABELS + 1, LABELS + 2)):
        source = write({"y": train}, {"y": test})
        images = load_images(source)
        assert images.labels.tolist() == test.tolist()
        assert images.class_names == tuple(str(label) for label in range(max(*train, *test) + 1))
        assert load_images(source, split="train").labels.tolist() == train.tolist()
        assert load_images(source, split="all").labels.tolist() == [*train, *test]
        assert load_images(source, split="all").name == "toy/all"
        with pytest.raises(InputError, match=r"toy/train: no image of class \d"):
            load_data(source)
    with pytest.raises(InputError, match="unknown split 'tests': did you mean 'test'"):
        load_images(source, split="tests")


def test_a_small_file_does_not_unpack_to_all_memory(write: Callable[..., str], tmp_path: Path) -> None:
    source = write()
    with zipfile.ZipFile(tmp_path / "toy-train.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("x.npy", "y.npy"):
            with archive.open(name, "w") as member:
                for _ in range(70):
                    member.write(bytes(2**20))
    with pytest.raises(InputError, match=r"toy-train.npz: would unpack from \d+ KB to 140 MB; the limit"):
        load_data(source)


def test_test_split_may_lack_a_class(write: Callable[..., str]) -> None:
    assert load_data(write(None, {"y": np.zeros(6, int)})).test.num_classes == 3


ZEROS = np.zeros((6, 6, 5, 3), np.uint8)


@pytest.mark.parametrize(
    ("split", "changes", "message"),
    [
        ("train", {"x": None}, r"no array x \(found: y\)"),
        ("test", {"y": None}, r"no array y"),
        ("train", {"x": ZEROS / 255}, r"x must be uint8 .*got float64; store pixels as 0 to 255"),
        ("train", {"x": ZEROS[:, 0, 0]}, r"x must be uint8 .*got shape \[6, 3\]"),
        ("test", {"x": ZEROS[..., [0, 1]]}, r"C 1 or 3, got shape \[6, 6, 5, 2\]$"),
        ("train", {"x": ZEROS.transpose(0, 3, 1, 2)}, "move the channels last"),
        ("train", {"x": ZEROS[:4]}, "4 images but 6 labels"),
        ("train", {"y": LABELS - 1}, "a label is -1"),
        ("test", {"y": LABELS - 1}, "a label is -1"),
        ("train", {"y": LABELS / 2}, "integer class indices, got float64"),
        ("train", {"y": LABELS[:, None]}, r"shape \[N\], got \[6, 1\]"),
        ("train", {"y": LABELS + 10**9}, "labels reach 1000000002, the limit is 99,999"),
        ("train", {"x": ZEROS[:0], "y": LABELS[:0]}, "holds no images"),
        ("test", {"x": ZEROS[:0], "y": LABELS[:0]}, "holds no images"),
        ("train", {"y": np.array([{}] * 6, dtype=object)}, "not plain arrays"),
    ],
)
def test_bad_content_names_the_file(
    write: Callable[..., str], split: str, changes: dict[str, Any], message: str
) -> None:
    source = write(**{split: changes})
    with pytest.raises(InputError, match=rf"toy-{split}\.npz: .*{message}") as caught:
        load_data(source)
    assert "\n" not in str(caught.value)


def test_different_sizes(write: Callable[..., str]) -> None:
    with pytest.raises(InputError, match=r"\[3, 6, 5\] but test images are \[3, 6, 4\]"):
        load_data(write(None, {"x": ZEROS[:, :, :4]}))


def test_single_class(write: Callable[..., str]) -> None:
    with pytest.raises(InputError, match="only one class"):
        load_data(write({"y": LABELS * 0}, {"y": LABELS * 0}))


@pytest.mark.parametrize("split", ["train", "test"])
def test_missing_file(write: Callable[..., str], tmp_path: Path, split: str) -> None:
    source = write()
    (tmp_path / f"toy-{split}.npz").unlink()
    with pytest.raises(InputError, match=rf"toy-{split}\.npz: no such file"):
        load_data(source)


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("share", [0, 0.01, 0.3, 0.7, 0.99])
def test_truncated_file(write: Callable[..., str], tmp_path: Path, share: float, compressed: bool) -> None:
    source = write()
    file = tmp_path / "toy-test.npz"
    if compressed:
        np.savez_compressed(file, x=ZEROS, y=LABELS)
    content = file.read_bytes()
    file.write_bytes(content[: int(share * len(content))])
    with pytest.raises(InputError, match=r"toy-test\.npz: cannot be read as npz"):
        load_data(source)


def test_every_flipped_byte_is_read_or_refused_in_one_line(write: Callable[..., str], tmp_path: Path) -> None:
    source = write()
    file = tmp_path / "toy-train.npz"
    np.savez_compressed(file, x=ZEROS, y=LABELS)
    content = file.read_bytes()
    for position in range(0, len(content), 5):
        file.write_bytes(content[:position] + bytes([content[position] ^ 0x55]) + content[position + 1 :])
        try:
            load_data(source)
        except InputError as error:
            assert "toy" in str(error)


def test_a_zip_of_other_files(write: Callable[..., str], tmp_path: Path) -> None:
    source = write()
    with zipfile.ZipFile(tmp_path / "toy-train.npz", "w") as archive:
        archive.writestr("x", "pixels")
        archive.writestr("y", "labels")
    with pytest.raises(InputError, match="not plain arrays"):
        load_data(source)


def test_a_plain_array_file_is_not_an_archive(write: Callable[..., str], tmp_path: Path) -> None:
    source = write()
    with open(tmp_path / "toy-train.npz", "wb") as file:
        np.save(file, ZEROS)
    with pytest.raises(InputError, match="not an npz archive"):
        load_data(source)
