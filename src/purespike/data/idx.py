"""Images in idx files, the format of MNIST, Fashion-MNIST, EMNIST and KMNIST; also compressed with gzip."""

import gzip
import math
from dataclasses import replace
from pathlib import Path
from typing import IO, cast

import numpy as np
import torch
from torch import Tensor

from purespike.data.image_set import Data, ImageSet, numbered_classes
from purespike.errors import InputError
from purespike.reading import check_unpacked, reading, regular_file

# names of the two splits; MNIST's own calls its test images t10k
_SPLITS = {"train": ("train",), "test": ("test", "t10k")}
_PARTS = {"images": 3, "labels": 1}
_HINT = (
    "; idx:PATH reads train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte and "
    "t10k-labels-idx1-ubyte (or test-…), also with .gz, in the folder PATH; idx:FOLDER/NAME reads "
    "NAME-train-…"
)
_UNSIGNED_BYTE = 0x08
# the first is the only one that images and labels of these sets use
_TYPES = {0x08: "uint8", 0x09: "int8", 0x0B: "int16", 0x0C: "int32", 0x0D: "float32", 0x0E: "float64"}


def load_idx(place: str) -> Data:
    """Read four idx files: images ``[N, H, W]`` and labels ``[N]`` of unsigned bytes, for train and test.

    Classes are 0 to the largest label of both splits.

    Args:
        place: folder of the files, or FOLDER/NAME for files whose names begin with ``NAME-``, such as
            EMNIST's ``emnist-balanced-train-images-idx3-ubyte.gz``.

    Raises:
        InputError: a file is missing, there twice, damaged, or of another kind or size than its header says;
            or the files do not fit each other.
    """
    path = Path(place).expanduser()
    folder, prefix = (path, "") if path.is_dir() else (path.parent, f"{path.name}-")
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder{_HINT}")
    files = {(split, part): _find(folder, prefix, split, part) for split in _SPLITS for part in _PARTS}
    arrays = {key: read_idx(file, _PARTS[key[1]]) for key, file in files.items()}
    for split in _SPLITS:
        count, labelled = len(arrays[split, "images"]), len(arrays[split, "labels"])
        if count != labelled:
            raise InputError(
                f"{files[split, 'labels']}: {labelled:,} labels for the {count:,} images of "
                f"{files[split, 'images'].name}; the two files belong to different sets"
            )
    labels = {split: torch.from_numpy(arrays[split, "labels"].astype(np.int64)) for split in _SPLITS}
    names = numbered_classes({str(files[split, "labels"]): labels[split] for split in _SPLITS})
    stem, sets = prefix.rstrip("-") or folder.resolve().name, {}
    for split in _SPLITS:
        images: Tensor = torch.from_numpy(arrays[split, "images"]).unsqueeze(1)
        named_by_file = ImageSet(images, labels[split], names, str(files[split, "images"]))
        sets[split] = replace(named_by_file, name=f"{stem}/{split}")
    return Data(source=f"idx:{place}", **sets)


def _find(folder: Path, prefix: str, split: str, part: str) -> Path:
    """The file of one split and part, under any of its usual names.

    Raises:
        InputError: none, or several.
    """
    ends = [f"{part}{mark}idx{_PARTS[part]}-ubyte{zip_}" for mark in "-." for zip_ in ("", ".gz")]
    names = [f"{prefix}{name}-{end}" for name in _SPLITS[split] for end in ends]
    found = [folder / name for name in names if (folder / name).is_file()]
    if not found:
        raise InputError(f"{folder / names[-4]}: no such file{_HINT}")
    if len(found) > 1:
        raise InputError(f"{folder}: both {found[0].name} and {found[1].name}; keep one of them")
    return found[0]


def read_idx(path: Path, dimensions: int) -> np.ndarray:
    """The array of one idx file: a magic number, a size per dimension, and unsigned bytes.

    Args:
        path: path of the file; a name that ends in ``.gz`` is unpacked.
        dimensions: dimensions it must have.

    Raises:
        InputError: no idx file, values of another type, another number of dimensions, no values, or more or
            fewer bytes than its header says.
    """
    regular_file(path)
    packed = path.suffix == ".gz"
    remedy = "download or copy it again"
    fault = "cannot be unpacked" if packed else "cannot be read"
    with reading(path, fault, remedy=remedy), _opened(path, packed=packed) as file:
        shape = _header(file, path, dimensions)
        size = math.prod(shape)
        if packed:
            check_unpacked(path, packed=path.stat().st_size, unpacked=size)
        # a byte more than the header says, to see whether there is one
        content = file.read(size + 1) if packed else _exactly(file, path, size)
    if len(content) != size:
        more = "more" if len(content) > size else f"only {len(content):,}"
        raise InputError(
            f"{path}: its header says {' × '.join(map(str, shape))} = {size:,} bytes, but there are {more}; "
            f"{remedy}"
        )
    # copied: the array of a buffer cannot be written to
    return np.frombuffer(content, dtype=np.uint8).reshape(shape).copy()


def _opened(path: Path, *, packed: bool) -> IO[bytes]:
    return cast(IO[bytes], gzip.open(path)) if packed else path.open("rb")


def _exactly(file: IO[bytes], path: Path, size: int) -> bytes:
    """The rest of a file if it is ``size`` bytes, else another number of them, at most those there are."""
    left = path.stat().st_size - file.tell()
    return file.read(min(size, left) + (left > size))


def _header(file: IO[bytes], path: Path, dimensions: int) -> tuple[int, ...]:
    """The sizes that an idx file begins with.

    Raises:
        InputError: see :func:`read_idx`.
    """
    magic = file.read(4)
    if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in _TYPES:
        kind = "; it is a gzip file: name it .gz" if magic[:2] == b"\x1f\x8b" else ""
        raise InputError(f"{path}: not an idx file (it begins with {magic.hex(' ') or 'nothing'}){kind}")
    if magic[2] != _UNSIGNED_BYTE:
        raise InputError(
            f"{path}: holds {_TYPES[magic[2]]}, not unsigned bytes; write uint8 pixels or labels"
        )
    if magic[3] != dimensions:
        wanted = "images [N, H, W]" if dimensions == 3 else "labels [N]"
        raise InputError(f"{path}: has {magic[3]} dimensions, not the {dimensions} of {wanted}")
    sizes = file.read(4 * dimensions)
    if len(sizes) < 4 * dimensions:
        raise InputError(f"{path}: ends within its header; download or copy it again")
    shape = tuple(int(size) for size in np.frombuffer(sizes, dtype=">u4"))
    if not math.prod(shape):
        raise InputError(f"{path}: holds nothing, its sizes are {list(shape)}")
    return shape
