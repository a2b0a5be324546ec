"""Images with their labels, and the pair of splits every run reads."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from purespike.data.sampling import stratified_indices
from purespike.errors import InputError

_SMALLEST_DEVIATION = 1e-3
# far more than any set has, and far fewer than a stray label of a billion would make
_MOST_CLASSES = 100_000


@dataclass(frozen=True, eq=False)
class ImageSet:
    """One split of a labelled image set, held in memory.

    Args:
        images: uint8 ``[N, C, H, W]``, ``C`` 1 (grayscale), 3 (RGB), or 2T: T frames of events with two
            polarities each (:class:`purespike.events.Binning`).
        labels: int64 ``[N]``, class indices in ``[0, K)``.
        class_names: ``K`` names, indexed by label.
        name: name of the split in messages and reports, e.g. ``"digits/test"``.

    Raises:
        InputError: a tensor has the wrong type or shape, or a label lies outside ``[0, K)``.
    """

    images: Tensor = field(repr=False)
    labels: Tensor = field(repr=False)
    class_names: tuple[str, ...]
    name: str

    def __post_init__(self) -> None:
        shape = list(self.images.shape)
        if self.images.dtype != torch.uint8 or len(shape) != 4:
            raise InputError(
                f"{self.name}: images must be uint8 [N, C, H, W], got {self.images.dtype} {shape}"
            )
        if shape[1] not in (1, 3) and shape[1] % 2:
            raise InputError(
                f"{self.name}: images must have 1 or 3 channels, or 2 a frame of events, got {shape[1]}"
            )
        if self.labels.dtype != torch.int64 or self.labels.ndim != 1:
            raise InputError(
                f"{self.name}: labels must be int64 [N], got {self.labels.dtype} {list(self.labels.shape)}"
            )
        if len(self.labels) != shape[0]:
            raise InputError(
                f"{self.name}: {shape[0]} images but {len(self.labels)} labels; each image needs one"
            )
        if self.images.numel() == 0:
            raise InputError(f"{self.name}: holds no images (shape {shape})")
        low, high = int(self.labels.min()), int(self.labels.max())
        if low < 0:
            raise InputError(
                f"{self.name}: a label is {low}; labels must be class indices from 0 "
                "(-1 often marks an unlabelled split, which cannot be evaluated)"
            )
        if high >= self.num_classes:
            raise InputError(
                f"{self.name}: a label is {high}, but there are only {self.num_classes} classes "
                f"(0 to {self.num_classes - 1})"
            )

    def __len__(self) -> int:
        return len(self.images)

    @property
    def channels(self) -> int:
        return self.images.shape[1]

    @property
    def num_classes(self) -> int:
        return len(self.class_names)

    def to_float(self) -> Tensor:
        """The images as float32 ``[N, C, H, W]`` in [0, 1]."""
        return self.images.float().div_(255)

    def take(self, limit: int | None, *, seed: int) -> "ImageSet":
        """A random subset in which every class keeps its share to within one image, in the original order.

        Args:
            limit: size of the subset; ``None`` or ``limit >= N`` returns the whole set.
            seed: seed of the draw.

        Raises:
            InputError: ``limit`` is below 1.
        """
        if limit is None or limit >= len(self):
            return self
        return self.select(self.drawn(limit, seed=seed))

    def drawn(self, limit: int | None, *, seed: int) -> Tensor:
        """The rows that :meth:`take` keeps, int64, ascending.

        Raises:
            InputError: ``limit`` is below 1.
        """
        if limit is not None and limit < 1:
            raise InputError(f"{self.name}: cannot take {limit} images; ask for at least 1")
        if limit is None or limit >= len(self):
            return torch.arange(len(self))
        return stratified_indices(self.labels, limit, seed=seed)

    def select(self, rows: Tensor, *, name: str | None = None) -> "ImageSet":
        """The subset of the given rows.

        Args:
            rows: int64 indices.
            name: name of the subset, by default that of the set.

        Raises:
            InputError: no rows.
        """
        return replace(self, images=self.images[rows], labels=self.labels[rows], name=name or self.name)

    def without(self, rows: Tensor, *, name: str | None = None) -> "ImageSet":
        """All but the given rows, in their order; see :meth:`select`."""
        left = torch.ones(len(self), dtype=torch.bool)
        left[rows] = False
        return self.select(left.nonzero().squeeze(1), name=name)

    def with_classes(self, names: Sequence[str]) -> "ImageSet":
        """The same images with labels that index ``names``, which hold every name of the set in some order.

        Raises:
            InputError: a name of the set is not among them.
        """
        if missing := set(self.class_names) - set(names):
            raise InputError(f"{self.name}: class {min(missing)!r} is not among {_shorten(list(names))}")
        places = torch.tensor([list(names).index(name) for name in self.class_names])
        return replace(self, labels=places[self.labels], class_names=tuple(names))

    def fingerprint(self) -> str:
        """SHA-256 over the shape, the pixels and the labels, in hexadecimal."""
        digest = hashlib.sha256(repr(tuple(self.images.shape)).encode())
        for tensor in (self.images, self.labels):
            digest.update(tensor.cpu().contiguous().numpy().data)
        return digest.hexdigest()

    def channel_statistics(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Mean and standard deviation of each channel, pixels in [0, 1]; a deviation is at least 1e-3."""
        levels = torch.arange(256, dtype=torch.float64) / 255
        means, deviations = [], []
        for channel in range(self.channels):
            # a histogram is exact and needs no float copy of the set
            counts = torch.bincount(self.images[:, channel].reshape(-1), minlength=256).cpu().double()
            shares = counts / counts.sum()
            mean = (shares * levels).sum()
            means.append(mean.item())
            deviation = (shares * (levels - mean).square()).sum().sqrt().item()
            deviations.append(max(deviation, _SMALLEST_DEVIATION))
        return tuple(means), tuple(deviations)


@dataclass(frozen=True, eq=False)
class Data:
    """The two splits of one source.

    Raises:
        InputError: the splits differ in channels, height, width or class names.
    """

    source: str
    train: ImageSet
    test: ImageSet

    def __post_init__(self) -> None:
        train, test = list(self.train.images.shape[1:]), list(self.test.images.shape[1:])
        if train != test:
            raise InputError(
                f"{self.source}: train images are {train} but test images are {test} "
                "(channels, height, width); resize both to one size"
            )
        if self.train.class_names != self.test.class_names:
            raise InputError(
                f"{self.source}: train and test name different classes "
                f"({_shorten(self.train.class_names)} against {_shorten(self.test.class_names)})"
            )

    def whole(self) -> ImageSet:
        """Both splits as one set, train first."""
        images, labels = (
            torch.cat([getattr(split, part) for split in (self.train, self.test)])
            for part in ("images", "labels")
        )
        return ImageSet(images, labels, self.train.class_names, f"{self.test.name.rpartition('/')[0]}/all")


def numbered_classes(labels: Mapping[str, Tensor]) -> tuple[str, ...]:
    """Names ``"0"`` to the largest label; a class may lack images.

    Args:
        labels: int64 labels ``[N]`` by file or split, whose name messages begin with.

    Raises:
        InputError: a label of 100,000 or more.
    """
    for place, values in labels.items():
        if len(values) and int(values.max()) >= _MOST_CLASSES:
            raise InputError(
                f"{place}: labels reach {int(values.max())}, the limit is {_MOST_CLASSES - 1:,}; "
                "number the classes from 0 without gaps"
            )
    count = 1 + max((int(values.max()) for values in labels.values() if len(values)), default=-1)
    return tuple(str(label) for label in range(count))


def ordered_classes(names: Sequence[str]) -> tuple[str, ...]:
    """Class names in natural order: numbers within them by their value, ``2`` before ``10``.

    Names that are all whole numbers are labels: the classes are then 0 to the largest, and one that is not
    among ``names`` has no images.

    Raises:
        InputError: a number of 100,000 or more, or two spellings of one.
    """
    if names and all(re.fullmatch(r"\d+", name, re.ASCII) for name in names):
        numbers = torch.tensor([min(int(name[:20]), 2**62) for name in names])
        if len(numbers.unique()) < len(names):
            raise InputError(f"classes {_shorten(sorted(names))}: two of them are one number; rename one")
        spelled = {int(name): name for name in names} if int(numbers.max()) < _MOST_CLASSES else {}
        return tuple(spelled.get(int(label), label) for label in numbered_classes({"classes": numbers}))
    return tuple(sorted(names, key=_natural))


def _natural(name: str) -> tuple[list[tuple[int, int, str]], str]:
    parts = re.split(r"(\d+)", name, flags=re.ASCII)
    return [(0, int(part[:20]), "") if part.isdecimal() else (1, 0, part) for part in parts if part], name


def validate(data: Data) -> Data:
    """Return ``data`` unchanged if a classifier can be trained on it.

    Raises:
        InputError: fewer than two classes, or a class without a training image.
    """
    names = data.train.class_names
    if len(names) < 2:
        raise InputError(f"{data.train.name}: only one class ({_shorten(names)}); a classifier needs two")
    counts = torch.bincount(data.train.labels, minlength=len(names))
    empty = [f"{index} ({name!r})" for index, name in enumerate(names) if counts[index] == 0]
    if empty:
        raise InputError(
            f"{data.train.name}: no image of class {_shorten(empty)}; add images or remove the class"
        )
    return data


def _shorten(names: tuple[str, ...] | list[str], limit: int = 5) -> str:
    more = f", … {len(names)} in all" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more
