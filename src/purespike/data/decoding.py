"""Decoding of tables of the ``datasets`` library to uint8 tensors."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from purespike.data.image_set import Data, ImageSet, numbered_classes
from purespike.data.opening import FORMATS, open_image
from purespike.errors import InputError
from purespike.reading import reading

if TYPE_CHECKING:
    from datasets import Dataset

_BATCH = 256
_PROGRESS_BAR_FROM = 5000
_IMAGE_NAMES = ("image", "img", "images")
_LABEL_NAMES = ("label", "labels", "fine_label")
_GRAYSCALE = ("L", "1")
# sets of single images that nobody can mistake: some hosted ones hold them
_FORMATS = (*FORMATS, "GIF", "PPM")


def decode(
    train: "Dataset", test: "Dataset", *, image_column: str, label_column: str, source: str, name: str
) -> Data:
    """Decode the images and labels of two splits with the same columns.

    Grayscale images give one channel; if any image of either split has colour, all become RGB.

    Raises:
        InputError: a column missing in test, an image that cannot be decoded, or images of different sizes.
    """
    tables = {"train": train, "test": test}
    columns = {image_column, label_column}
    if missing := columns - set(test.features):
        raise InputError(f"{name}/test: no column {' and '.join(sorted(missing))}, but train has it")
    labels = {split: _labels(table, label_column, f"{name}/{split}") for split, table in tables.items()}
    names = _class_names(train, label_column, {f"{name}/{split}": labels[split] for split in tables})
    pixels = {
        split: _decode_images(table, image_column, f"{name}/{split}") for split, table in tables.items()
    }
    channels = max(images.shape[1] for images in pixels.values())
    sets = {
        split: ImageSet(_with_channels(pixels[split], channels), labels[split], names, f"{name}/{split}")
        for split in tables
    }
    return Data(source=source, **sets)


def decode_split(table: "Dataset", *, image_column: str, label_column: str, name: str) -> ImageSet:
    """Decode the images and labels of one table, named ``name``.

    Raises:
        InputError: as :func:`decode` raises.
    """
    labels = _labels(table, label_column, name)
    names = _class_names(table, label_column, {name: labels})
    return ImageSet(_decode_images(table, image_column, name), labels, names, name)


def find_columns(features: Any, name: str) -> tuple[str, str]:
    """The image and the label column, by type where the table declares one, else by common names.

    Raises:
        InputError: no image column, no label column, or several label columns without a common name.
    """
    from datasets import ClassLabel, Image

    typed = [column for column, feature in features.items() if isinstance(feature, Image)]
    images = typed or [column for column in _IMAGE_NAMES if column in features]
    if not images:
        raise InputError(
            f"{name}: no image column among {', '.join(features)}; store images as datasets.Image"
        )
    named = [column for column in _LABEL_NAMES if column in features]
    labels = named or [column for column, feature in features.items() if isinstance(feature, ClassLabel)]
    if not named and len(labels) > 1:
        raise InputError(
            f"{name}: several label columns ({', '.join(labels)}); rename the one to learn to 'label'"
        )
    if not labels:
        raise InputError(
            f"{name}: no label column among {', '.join(features)}; name it 'label', "
            "or in a folder put the images into one directory per class (two classes at least)"
        )
    return images[0], labels[0]


def _class_names(table: "Dataset", column: str, labels: Mapping[str, Tensor]) -> tuple[str, ...]:
    from datasets import ClassLabel

    feature = table.features[column]
    return tuple(feature.names) if isinstance(feature, ClassLabel) else numbered_classes(labels)


def _labels(table: "Dataset", column: str, where: str) -> Tensor:
    if not len(table):
        return torch.empty(0, dtype=torch.int64)
    with reading(where, f"column {column!r} cannot be read"):
        values = np.asarray(table.with_format("arrow")[:][column].to_numpy())
    if values.dtype.kind not in "iu":
        raise InputError(
            f"{where}: column {column!r} must hold one integer class index per image, without gaps, "
            f"got {table.features[column]}; convert it with Dataset.class_encode_column"
        )
    return torch.from_numpy(values.astype(np.int64))


def _decode_images(table: "Dataset", column: str, where: str) -> Tensor:
    from datasets import Image
    from rich.console import Console
    from rich.progress import track

    if len(table) == 0:
        raise InputError(f"{where}: holds no images")
    with reading(where, f"column {column!r} holds no image files"):
        raw = table.with_format(None).select_columns([column]).cast_column(column, Image(decode=False))
    batches: list[np.ndarray] = []
    starts = track(
        range(0, len(raw), _BATCH),
        description=f"decoding {where}",
        console=Console(stderr=True),
        disable=len(raw) < _PROGRESS_BAR_FROM or not sys.stderr.isatty(),
    )
    for start in starts:
        files = raw[start : start + _BATCH][column]
        arrays = [_decode_one(file, f"{where}: image {start + i}") for i, file in enumerate(files)]
        first = batches[0][0] if batches else arrays[0]
        for i, array in enumerate(arrays):
            if array.shape[:2] != first.shape[:2]:
                raise InputError(
                    f"{where}: images of different sizes, the first is {_size(first)} and image "
                    f"{start + i} is {_size(array)} (width x height); resize all to one size"
                )
        channels = max(array.shape[2] for array in arrays)
        batches.append(np.stack([np.broadcast_to(a, (*a.shape[:2], channels)) for a in arrays]))
    tensors = [torch.from_numpy(batch).permute(0, 3, 1, 2) for batch in batches]
    channels = max(tensor.shape[1] for tensor in tensors)
    return torch.cat([_with_channels(tensor, channels) for tensor in tensors]).contiguous()


def _decode_one(file: Any, where: str) -> np.ndarray:
    """``[H, W, C]``, uint8, ``C`` 1 for grayscale and 3 for everything else."""
    from PIL import ImageOps

    if file is None:
        raise InputError(f"{where} is missing; remove the row")
    path, content = file.get("path"), file.get("bytes")
    place = f"{where} ({path})" if path else where
    source = Path(path) if content is None and path else content
    # photographs are stored as the camera was held, and turned when they are shown
    image = ImageOps.exif_transpose(open_image(source or b"", place, formats=_FORMATS))
    array = np.asarray(image.convert("L" if image.mode in _GRAYSCALE else "RGB"))
    return array[:, :, None] if array.ndim == 2 else array


def _with_channels(images: Tensor, channels: int) -> Tensor:
    return images if images.shape[1] == channels else images.expand(-1, channels, -1, -1).contiguous()


def _size(array: np.ndarray) -> str:
    return f"{array.shape[1]}x{array.shape[0]}"
