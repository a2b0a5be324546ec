import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
import torch
from PIL import Image

from purespike.data import load_data, load_images
from purespike.data.hub import _is_reachable
from purespike.errors import InputError

ANIMALS = datasets.ClassLabel(names=["cat", "dog", "owl"])
LABELS = [0, 1, 2, 0, 1, 2]


def table(
    images: Any, labels: list[Any], *, label: str = "label", feature: Any = ANIMALS
) -> datasets.Dataset:
    content = {"image": [Image.fromarray(image) for image in images], label: labels}
    made = datasets.Dataset.from_dict(content).cast_column("image", datasets.Image())
    return made if feature is None else made.cast_column(label, feature)


@pytest.fixture
def write_parquet(tmp_path: Path, pixels: Callable[..., np.ndarray]) -> Callable[..., Path]:
    def write(**splits: datasets.Dataset) -> Path:
        directory = tmp_path / "animals"
        directory.mkdir(exist_ok=True)
        for split, content in (splits or {s: table(pixels(6), LABELS) for s in ("train", "test")}).items():
            content.to_parquet(directory / f"{split}-00000-of-00001.parquet")
        return directory

    return write


def test_parquet_directory(write_parquet: Callable[..., Path], pixels: Callable[..., np.ndarray]) -> None:
    train, test = pixels(600, seed=1), pixels(6, seed=2)
    directory = write_parquet(train=table(train, LABELS * 100), test=table(test, LABELS[::-1]))
    data = load_data(f"hub:{directory}")
    np.testing.assert_array_equal(data.train.images.permute(0, 2, 3, 1), train)
    np.testing.assert_array_equal(data.test.images.permute(0, 2, 3, 1), test)
    assert data.train.labels.tolist() == LABELS * 100
    assert data.test.labels.tolist() == LABELS[::-1]
    assert data.train.class_names == ("cat", "dog", "owl")
    assert (data.source, data.test.name) == (f"hub:{directory}", "animals/test")


def test_grayscale_stays_grayscale(
    write_parquet: Callable[..., Path], pixels: Callable[..., np.ndarray]
) -> None:
    x = pixels(6, channels=1)
    data = load_data(f"hub:{write_parquet(train=table(x, LABELS), test=table(x, LABELS))}")
    np.testing.assert_array_equal(data.train.images[:, 0], x)


@pytest.mark.parametrize("coloured", ["train", "test"])
def test_mixed_modes_become_rgb(
    write_parquet: Callable[..., Path], pixels: Callable[..., np.ndarray], coloured: str
) -> None:
    gray, colour = pixels(6, channels=1), pixels(1)[0]
    splits = {split: table(gray, LABELS) for split in ("train", "test")}
    splits[coloured] = table([*gray[:5], colour], LABELS)
    data = load_data(f"hub:{write_parquet(**splits)}")
    for image_set in (data.train, data.test):
        np.testing.assert_array_equal(image_set.images[:5], np.repeat(gray[:5, None], 3, axis=1))
    last = {"train": data.train, "test": data.test}[coloured].images[5]
    np.testing.assert_array_equal(last.permute(1, 2, 0), colour)


@pytest.mark.parametrize("label", ["label", "labels", "fine_label"])
def test_integer_labels_by_name(
    write_parquet: Callable[..., Path], pixels: Callable[..., np.ndarray], label: str
) -> None:
    made = table(pixels(6), LABELS, label=label, feature=None)
    data = load_data(f"hub:{write_parquet(train=made, test=made)}")
    assert data.train.class_names == ("0", "1", "2")


def test_class_label_under_any_name(
    write_parquet: Callable[..., Path], pixels: Callable[..., np.ndarray]
) -> None:
    made = table(pixels(6), LABELS, label="animal")
    assert load_data(f"hub:{write_parquet(train=made, test=made)}").train.labels.tolist() == LABELS


def test_fine_label_wins_over_coarse(
    write_parquet: Callable[..., Path], pixels: Callable[..., np.ndarray]
) -> None:
    made = table(pixels(6), LABELS, label="fine_label").add_column("coarse_label", [0] * 6)
    made = made.cast_column("coarse_label", datasets.ClassLabel(names=["animal"]))
    assert load_data(f"hub:{write_parquet(train=made, test=made)}").train.num_classes == 3


def test_files_without_the_image_type(
    write_parquet: Callable[..., Path], pixels: Callable[..., np.ndarray]
) -> None:
    x = pixels(6)
    raw = table(x, LABELS, feature=None).cast_column("image", datasets.Image(decode=False))
    plain = datasets.Dataset.from_dict(
        {"image": [dict(file) for file in raw["image"]], "label": LABELS},
        features=datasets.Features(
            {
                "image": {"bytes": datasets.Value("binary"), "path": datasets.Value("string")},
                "label": datasets.Value("int64"),
            }
        ),
    )
    data = load_data(f"hub:{write_parquet(train=plain, test=plain)}")
    np.testing.assert_array_equal(data.train.images.permute(0, 2, 3, 1), x)


@pytest.mark.parametrize(
    ("labels", "feature", "message"),
    [
        ([0, 1, 2, 0, 1, -1], None, "a label is -1"),
        ([0, 1, 2, 0, 1, 10**9], None, "labels reach 1000000000"),
        ([0, 1, 0, 0, 1, 1], ANIMALS, r"no image of class 2 \('owl'\)"),
        (["a", "b", "c", "a", "b", "c"], None, "integer class index"),
        ([0, 1, 2, 0, 1, None], None, "integer class index"),
        ([0.0, 1.0, 2.0, 0.0, 1.0, 2.0], None, "integer class index"),
    ],
)
def test_bad_labels(
    write_parquet: Callable[..., Path],
    pixels: Callable[..., np.ndarray],
    labels: list[Any],
    feature: Any,
    message: str,
) -> None:
    made = table(pixels(6), labels, feature=feature)
    with pytest.raises(InputError, match=f"animals/train: .*{message}"):
        load_data(f"hub:{write_parquet(train=made, test=made)}")


def test_missing_columns(write_parquet: Callable[..., Path], pixels: Callable[..., np.ndarray]) -> None:
    made = table(pixels(6), LABELS)
    bad = {
        "no image column": made.remove_columns("image"),
        "no label column": made.remove_columns("label"),
        "several label columns": made.rename_column("label", "a")
        .add_column("b", LABELS)
        .cast_column("b", ANIMALS),
    }
    for message, content in bad.items():
        with pytest.raises(InputError, match=f"animals: {message}"):
            load_data(f"hub:{write_parquet(train=content, test=content)}")


def test_image_columns_of_numbers(write_parquet: Callable[..., Path]) -> None:
    made = datasets.Dataset.from_dict({"image": [0, 1], "label": [0, 1]})
    with pytest.raises(InputError, match="holds no image files"):
        load_data(f"hub:{write_parquet(train=made, test=made)}")


def test_a_missing_and_a_broken_image(
    write_parquet: Callable[..., Path], pixels: Callable[..., np.ndarray]
) -> None:
    made = table(pixels(6), LABELS)
    files = [dict(file) for file in made.cast_column("image", datasets.Image(decode=False))["image"]]
    for broken, message in ((None, "image 4 is missing"), (b"no image", "image 4: not a readable image")):
        content = files.copy()
        content[4] = broken and {"bytes": broken, "path": None}
        bad = datasets.Dataset.from_dict({"image": content, "label": LABELS}).cast_column(
            "image", datasets.Image()
        )
        with pytest.raises(InputError, match=f"animals/test: {message}"):
            load_data(f"hub:{write_parquet(train=made, test=bad)}")


def test_missing_split(write_parquet: Callable[..., Path], pixels: Callable[..., np.ndarray]) -> None:
    with pytest.raises(InputError, match=r"no split test \(found: train\)"):
        load_data(f"hub:{write_parquet(train=table(pixels(6), LABELS))}")


def test_damaged_parquet(write_parquet: Callable[..., Path]) -> None:
    directory = write_parquet()
    (directory / "test-00000-of-00001.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(InputError, match="cannot be loaded: ") as caught:
        load_data(f"hub:{directory}")
    assert "\n" not in str(caught.value)


def test_missing_and_empty_directory(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such directory"):
        load_data(f"hub:{tmp_path}/nowhere")
    with pytest.raises(InputError, match=r"cannot be loaded: .*data files"):
        load_data(f"hub:{tmp_path}")


@pytest.mark.parametrize("source", ["mnist", "svhn", "hub:someone/something", "hub:someone/something:small"])
@pytest.mark.parametrize("offline_mode", [True, False])
def test_without_network(monkeypatch: pytest.MonkeyPatch, source: str, offline_mode: bool) -> None:
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", offline_mode)
    monkeypatch.setattr(datasets.config, "HF_ENDPOINT", "http://127.0.0.1:9")
    start = time.monotonic()
    with pytest.raises(InputError, match=f"{source}: the Hugging Face hub cannot be reached.*npz:.*folder:"):
        load_data(source)
    assert time.monotonic() - start < 10
    assert offline_mode == datasets.config.HF_HUB_OFFLINE


def test_probe_refuses_a_closed_port_and_no_address() -> None:
    assert not _is_reachable("http://127.0.0.1:9")
    assert not _is_reachable("nonsense")


def test_decoded_sets_are_reused(
    write_parquet: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = f"hub:{write_parquet()}"
    first = load_data(source, cache_dir=tmp_path / "mine")
    assert [file.suffix for file in (tmp_path / "mine").iterdir()] == [".safetensors"]

    def decode(*_: Any, **__: Any) -> None:
        raise AssertionError("decoded again")

    monkeypatch.setattr("purespike.data.hub.decode", decode)
    again = load_data(source, cache_dir=tmp_path / "mine")
    assert again.train.fingerprint() == first.train.fingerprint()
    assert again.test.fingerprint() == first.test.fingerprint()
    assert (again.source, again.train.name, again.train.class_names) == (
        first.source,
        first.train.name,
        first.train.class_names,
    )


def test_changed_data_are_decoded_anew(
    write_parquet: Callable[..., Path], pixels: Callable[..., np.ndarray]
) -> None:
    before = load_data(f"hub:{write_parquet()}")
    other = table(pixels(6, seed=9), LABELS)
    after = load_data(f"hub:{write_parquet(train=other, test=other)}")
    assert after.train.fingerprint() != before.train.fingerprint()


def test_folder(write_folder: Callable[..., Path], pixels: Callable[..., np.ndarray]) -> None:
    x = pixels(8)
    folder = write_folder(
        {
            "train/cat": list(x[:2]),
            # a class whose name looks like a split
            "train/test-tube": list(x[2:5]),
            "test/cat": list(x[5:6]),
            "test/test-tube": list(x[6:]),
        }
    )
    data = load_data(f"folder:{folder}")
    assert data.train.class_names == ("cat", "test-tube")
    assert data.train.labels.tolist() == [0, 0, 1, 1, 1]
    assert data.test.labels.tolist() == [0, 1, 1]
    np.testing.assert_array_equal(data.train.images.permute(0, 2, 3, 1), x[:5])
    np.testing.assert_array_equal(data.test.images.permute(0, 2, 3, 1), x[5:])
    assert data.train.name == "pets/train"


def test_a_replaced_image_is_noticed(
    write_folder: Callable[..., Path], pixels: Callable[..., np.ndarray]
) -> None:
    x = list(pixels(2))
    folder = write_folder({f"{split}/{name}": x for split in ("train", "test") for name in "ab"})
    load_data(f"folder:{folder}")
    black = np.zeros_like(x[0])
    Image.fromarray(black).save(folder / "train" / "b" / "1.png")
    np.testing.assert_array_equal(load_data(f"folder:{folder}").train.images[3].permute(1, 2, 0), black)


def test_folder_errors(write_folder: Callable[..., Path], pixels: Callable[..., np.ndarray]) -> None:
    x, large = list(pixels(2)), list(pixels(1, size=(9, 7)))
    deep = [np.full((6, 5), 40000, np.uint16)] * 2
    both = {"train/cat": x, "train/dog": x, "test/cat": x, "test/dog": x}
    bad = {
        "missing/test: no such directory": {"train/cat": x, "train/dog": x},
        "train: only one class": {"train/cat": x, "test/cat": x},
        r"train/elk: no images; add some": both | {"train/elk": []},
        r"images of class 'young' lie outside train/CLASS/": both | {"train/dog/young": x},
        r"images of class 'test' lie outside": both | {"test": x},
        r"no image of class 1 \('dog'\)": {"train/cat": x, "test/cat": x, "test/dog": x},
        "different sizes, the first is 5x6 and image 3 is 7x9 .*resize": both | {"train/dog": [x[0], *large]},
        r"train images are \[3, 6, 5\] but test": both | {"test/cat": large, "test/dog": large},
        "more than 8 bits": both | {"test/cat": deep},
    }
    for index, (message, content) in enumerate(bad.items()):
        name = "missing" if "missing" in message else f"bad{index}"
        with pytest.raises(InputError, match=message) as caught:
            load_data(f"folder:{write_folder(content, name=name)}")
        assert name in str(caught.value)


def test_a_broken_image_file_is_named(
    write_folder: Callable[..., Path], pixels: Callable[..., np.ndarray]
) -> None:
    x = list(pixels(2))
    folder = write_folder({f"{split}/{name}": x for split in ("train", "test") for name in "ab"})
    file = folder / "train" / "b" / "1.png"
    file.write_bytes(file.read_bytes()[:60])
    with pytest.raises(InputError, match=r"pets/train: image 3 \(.*/train/b/1\.png\): not a readable image"):
        load_data(f"folder:{folder}")


def marked(number: int) -> np.ndarray:
    return np.full((4, 4), number, np.uint8)


def test_numbered_directories_are_labels(write_folder: Callable[..., Path]) -> None:
    """Sorted as text, 10 would be class 2."""
    folder = write_folder({f"{split}/{n}": [marked(n)] for split in ("train", "test") for n in range(11)})
    data = load_data(f"folder:{folder}")
    assert data.train.class_names == tuple(map(str, range(11)))
    for images in (data.train, data.test):
        assert torch.equal(images.images[:, 0, 0, 0].long(), images.labels)


def test_a_gap_in_numbered_directories_stays(write_folder: Callable[..., Path]) -> None:
    content = {f"{split}/{n}": [marked(n)] for split in ("train", "test") for n in (1, 3, 12)}
    source = f"folder:{write_folder(content)}"
    with pytest.raises(InputError, match=r"no image of class 0 \('0'\), 2 \('2'\)"):
        load_data(source)
    images = load_images(source)
    assert images.num_classes == 13
    assert torch.equal(images.images[:, 0, 0, 0].long(), images.labels)
    bad = write_folder(
        {f"{split}/{n}": [marked(1)] for split in ("train", "test") for n in ("1", "01")}, name="b"
    )
    with pytest.raises(InputError, match="classes 01, 1: two of them are one number"):
        load_data(f"folder:{bad}")


def test_a_flat_folder_is_evaluated_with_split_all(write_folder: Callable[..., Path]) -> None:
    source = f"folder:{write_folder({f'class{n}': [marked(n)] * 2 for n in (2, 10, 1)})}"
    for split in ("test", "train"):
        with pytest.raises(InputError, match=r"pets: has no train/ and test/.*--split all"):
            load_images(source, split=split)
    images = load_images(source, split="all")
    assert (images.class_names, images.name) == (("class1", "class2", "class10"), "pets/all")
    assert sorted(zip(images.labels.tolist(), images.images[:, 0, 0, 0].tolist(), strict=True)) == [
        (0, 1), (0, 1), (1, 2), (1, 2), (2, 10), (2, 10)
    ]  # fmt: skip


def test_strange_entries_of_a_folder(
    write_folder: Callable[..., Path], pixels: Callable[..., np.ndarray]
) -> None:
    """What is no image has no part; a link to nothing, or a pipe, must not stop or hang it."""
    x = list(pixels(2))
    folder = write_folder({f"{split}/{name}": x for split in ("train", "test") for name in "ab"})
    (folder / "train" / "a" / "._0.png").write_bytes(b"Mac OS X")
    (folder / "train" / "a" / "gone.png").symlink_to(folder / "nowhere.png")
    (folder / "train" / "a" / "dir.png").mkdir()
    os.mkfifo(folder / "train" / "a" / "pipe.png")
    assert len(load_data(f"folder:{folder}").train) == 4


def test_photographs_stand_upright(write_folder: Callable[..., Path]) -> None:
    folder = write_folder({f"{split}/{name}": [marked(0)] for split in ("train", "test") for name in "ab"})
    turned = np.zeros((4, 4), np.uint8)
    turned[0] = 255  # the upper edge as stored is the right edge as seen
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(turned).save(folder / "test" / "a" / "0.png", exif=exif)
    image = load_data(f"folder:{folder}").test.images[0, 0]
    assert (image[:, 3] == 255).all() and (image[:, :3] == 0).all()
