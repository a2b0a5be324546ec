"""Image sets from a pair of npz files."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from purespike.data.image_set import Data, ImageSet, numbered_classes
from purespike.errors import InputError
from purespike.reading import read_npz

_LAYOUT = "uint8 [N, H, W] or [N, H, W, C] with C 1 or 3"


def load_arrays(stem: str) -> Data:
    """Read ``STEM-train.npz`` and ``STEM-test.npz``.

    Each holds ``x``, uint8 ``[N, H, W]`` or ``[N, H, W, C]``, and ``y``, integer ``[N]``; ``class_names``,
    strings ``[K]``, is optional in either. Without names the classes are 0 to the largest label of both.

    Args:
        stem: path without ``-train.npz``, or the path of either file.

    Raises:
        InputError: a file is missing, damaged or malformed, or the two do not fit each other.
    """
    path = Path(stem.removesuffix("-train.npz").removesuffix("-test.npz")).expanduser()
    files = {split: path.with_name(f"{path.name}-{split}.npz") for split in ("train", "test")}
    arrays = {
        split: read_npz(
            file,
            required=("x", "y"),
            optional=("class_names",),
            hint="; npz:/path/NAME reads NAME-train.npz and NAME-test.npz",
            layout=f"; write x ({_LAYOUT}) and y (integers [N])",
        )
        for split, file in files.items()
    }
    images = {split: _images(arrays[split]["x"], files[split]) for split in files}
    labels = {split: _labels(arrays[split]["y"], files[split]) for split in files}
    names = _class_names(arrays, files)
    if names is None:
        names = numbered_classes({str(files[split]): labels[split] for split in files})
    sets = {}
    for split, file in files.items():
        # built under the file's path, so that a message about its content names the file
        named_by_file = ImageSet(images[split], labels[split], names, str(file))
        sets[split] = replace(named_by_file, name=f"{path.name}/{split}")
    return Data(source=f"npz:{stem}", **sets)


def _images(x: np.ndarray, file: Path) -> Tensor:
    if x.dtype != np.uint8:
        raise InputError(
            f"{file}: x must be {_LAYOUT}, got {x.dtype}; store pixels as 0 to 255 with dtype uint8"
        )
    if x.ndim not in (3, 4):
        raise InputError(f"{file}: x must be {_LAYOUT}, got shape {list(x.shape)}")
    if x.size == 0:
        raise InputError(f"{file}: x holds no images, its shape is {list(x.shape)}")
    if x.ndim == 3:
        return torch.from_numpy(x).unsqueeze(1)
    if x.shape[3] not in (1, 3):
        hint = "; move the channels last" if x.shape[1] in (1, 3) else ""
        raise InputError(f"{file}: x must be {_LAYOUT}, got shape {list(x.shape)}{hint}")
    return torch.from_numpy(np.ascontiguousarray(x.transpose(0, 3, 1, 2)))


def _labels(y: np.ndarray, file: Path) -> Tensor:
    if y.dtype.kind not in "iu":
        raise InputError(f"{file}: y must be integer class indices, got {y.dtype}; convert it to int64")
    if y.ndim != 1:
        raise InputError(f"{file}: y must have one entry per image, shape [N], got {list(y.shape)}")
    return torch.from_numpy(y.astype(np.int64))


def _class_names(arrays: dict[str, dict[str, Any]], files: dict[str, Path]) -> tuple[str, ...] | None:
    found = {}
    for split, content in arrays.items():
        if "class_names" not in content:
            continue
        names = content["class_names"]
        if names.dtype.kind != "U" or names.ndim != 1:
            raise InputError(
                f"{files[split]}: class_names must be strings [K], got {names.dtype} {list(names.shape)}"
            )
        found[split] = tuple(names.tolist())
    if len(set(found.values())) > 1:
        raise InputError(f"{files['test']}: class_names differ from those of {files['train'].name}")
    return next(iter(found.values()), None)
