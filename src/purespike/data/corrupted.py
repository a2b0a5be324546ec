"""Corrupted test images as CIFAR-10-C has them: an array for each corruption, with five severities."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from purespike.data.image_set import ImageSet, numbered_classes
from purespike.data.sampling import stratified_indices
from purespike.errors import InputError
from purespike.files import as_path
from purespike.reading import reading, regular_file
from purespike.results.corruption import CORRUPTIONS
from purespike.seeding import generator

SEVERITIES = 5
_LAYOUT = "uint8 [5·n, H, W, 3] or [5·n, H, W], severity 1 first"


@dataclass(frozen=True, eq=False)
class Corruptions:
    """Corrupted copies of ``n`` test images: every corruption at severities 1 to 5.

    Args:
        name: name of the folder.
        arrays: memory-mapped uint8 ``[5·n, H, W(, C)]`` by corruption, in alphabetical order.
        labels: int64 ``[n]``, the same for all corruptions and severities.
    """

    name: str
    arrays: dict[str, np.ndarray]
    labels: Tensor

    @property
    def names(self) -> tuple[str, ...]:
        """The corruptions that are there."""
        return tuple(self.arrays)

    def rows(self, limit: int | None, *, seed: int) -> Tensor:
        """The images of a stratified sample of ``limit``, as an evaluation draws it from a test set."""
        if limit is None or limit >= len(self.labels):
            return torch.arange(len(self.labels))
        return stratified_indices(self.labels, limit, seed=seed)

    def images(self, corruption: str, severity: int, rows: Tensor) -> ImageSet:
        """Some images under one corruption, severity 1 to 5."""
        pixels = self.arrays[corruption][((severity - 1) * len(self.labels) + rows).numpy()]
        return self._set(pixels, rows, f"{self.name} {corruption}, severity {severity}/test")

    def mixed(self, rows: Tensor, *, seed: int) -> ImageSet:
        """Some images, each once, under corruptions and severities that all occur equally often.

        Args:
            rows: which images.
            seed: seed of the draw of who gets which.
        """
        kinds = [(name, severity) for name in self.names for severity in range(SEVERITIES)]
        # as many of each kind as of any other, up to one
        order = torch.randperm(len(rows), generator=generator("corruptions", seed))
        pixels = np.empty((len(rows), *self.arrays[self.names[0]].shape[1:]), dtype=np.uint8)
        for place, image in enumerate(order.tolist()):
            name, severity = kinds[place % len(kinds)]
            pixels[image] = self.arrays[name][severity * len(self.labels) + int(rows[image])]
        return self._set(pixels, rows, f"{self.name}/corrupted")

    def _set(self, pixels: np.ndarray, rows: Tensor, name: str) -> ImageSet:
        wide = torch.from_numpy(np.ascontiguousarray(pixels))
        images = wide.unsqueeze(1) if wide.ndim == 3 else wide.permute(0, 3, 1, 2).contiguous()
        names = numbered_classes({self.name: self.labels})
        return ImageSet(images, self.labels[rows], names, name)


def read_corruptions(folder: str | Path) -> Corruptions:
    """Open a folder of ``CORRUPTION.npy`` and ``labels.npy``, as CIFAR-10-C has them, mapped into memory.

    Each array is uint8 ``[5·n, H, W, C]`` or ``[5·n, H, W]``: all ``n`` test images at severity 1, then at 2
    and so on. ``labels.npy`` holds ``[5·n]`` integers, the same for each severity. Corruptions of other names
    than CIFAR-10-C's are taken too; some of its own may be missing.

    Args:
        folder: the folder.

    Raises:
        InputError: no such folder, no arrays, or one that is damaged, malformed, or unlike the others.
    """
    place = as_path(folder, name="corrupted images").expanduser()
    if not place.is_dir():
        raise InputError(
            f"{place}: no such folder; corrupted images lie in CORRUPTION.npy and labels.npy, as CIFAR-10-C"
        )
    files = sorted(file for file in place.glob("*.npy") if file.name != "labels.npy" and file.name[0] != ".")
    if not files:
        raise InputError(f"{place}: no CORRUPTION.npy, e.g. {CORRUPTIONS[4]}.npy ({_LAYOUT})")
    labels = _labels(place / "labels.npy")
    arrays = {
        file.stem: _pixels(file, len(labels) * SEVERITIES, labels=place / "labels.npy") for file in files
    }
    shape, first = arrays[files[0].stem].shape, files[0]
    for file in files[1:]:
        if arrays[file.stem].shape != shape:
            raise InputError(
                f"{file}: is {list(arrays[file.stem].shape)}, but {first.name} is {list(shape)}; all "
                "corruptions are of the same images"
            )
    return Corruptions(place.resolve().name, arrays, labels)


def _labels(file: Path) -> Tensor:
    regular_file(file, hint="; it holds the labels [5·n] of all corruptions")
    values = _open(file)
    if values.dtype.kind not in "iu" or values.ndim != 1:
        raise InputError(f"{file}: must hold integer labels [5·n], got {values.dtype} {list(values.shape)}")
    if not len(values) or len(values) % SEVERITIES:
        raise InputError(f"{file}: holds {len(values)} labels, not n for each of {SEVERITIES} severities")
    blocks = np.asarray(values).reshape(SEVERITIES, -1).astype(np.int64)
    if (blocks != blocks[0]).any():
        raise InputError(
            f"{file}: the labels of the {SEVERITIES} severities differ; all test images at severity 1 come "
            "first, then the same ones at severity 2, and so on"
        )
    if blocks.min() < 0:
        raise InputError(f"{file}: a label is {blocks.min()}; labels are class indices from 0")
    return torch.from_numpy(blocks[0].copy())


def _pixels(file: Path, count: int, *, labels: Path) -> np.ndarray:
    values = _open(regular_file(file))
    if values.dtype != np.uint8:
        raise InputError(f"{file}: must be {_LAYOUT}, got {values.dtype}; store pixels as 0 to 255, uint8")
    if values.ndim not in (3, 4) or (values.ndim == 4 and values.shape[3] not in (1, 3)) or not values.size:
        raise InputError(f"{file}: must be {_LAYOUT}, got shape {list(values.shape)}")
    if len(values) != count:
        raise InputError(f"{file}: holds {len(values):,} images, but {labels.name} {count:,} labels")
    return values


def _open(file: Path) -> np.ndarray:
    with reading(file, "cannot be read as npy", remedy="download or copy it again"):
        values = np.load(file, mmap_mode="r", allow_pickle=False)
        if not isinstance(values, np.ndarray):
            raise ValueError("it is an npz archive")
        return values
