"""Tensors on disk: safetensors files, which hold no code."""

import contextlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from purespike.errors import InputError
from purespike.files import replacing
from purespike.reading import reading, regular_file

_PICKLES = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")


def read_tensors(path: str | Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """All tensors of a safetensors file on the CPU, and its metadata.

    Raises:
        InputError: missing, truncated, or not a safetensors file.
    """
    regular_file(path, kind="checkpoint")
    with reading(path, "truncated, or not a safetensors file", remedy="copy it again, or train again"):
        with open(path, "rb") as file:
            if file.read(4).startswith(_PICKLES):
                raise InputError(
                    f"{path}: a PyTorch file (.pt, .pth), not a safetensors file; it is a pickle, which may "
                    "run code when read: load it into your model yourself, and give module:function"
                )
        with safe_open(path, framework="pt") as archive:
            tensors = {key: archive.get_tensor(key) for key in archive.keys()}  # noqa: SIM118
            return tensors, archive.metadata() or {}


def read_metadata(path: str | Path) -> dict[str, str]:
    """The metadata of a safetensors file alone.

    Raises:
        InputError: missing, truncated, or not a safetensors file.
    """
    with _header(path) as archive:
        return archive.metadata() or {}


@contextlib.contextmanager
def _header(path: str | Path) -> Iterator[Any]:
    """The open file, of which nothing but the header is read yet."""
    regular_file(path, kind="checkpoint")
    with (
        reading(path, "truncated, or not a safetensors file", remedy="copy it again, or train again"),
        safe_open(path, framework="pt") as archive,
    ):
        yield archive


def stored_types(path: str | Path) -> set[str]:
    """The types of the tensors in a safetensors file, as its header spells them: ``"F16"``, ``"F32"``.

    Raises:
        InputError: missing, truncated, or not a safetensors file.
    """
    with _header(path) as archive:
        return {archive.get_slice(key).get_dtype() for key in archive.keys()}  # noqa: SIM118


def write_tensors(path: str | Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    """Write a safetensors file atomically; equal content makes equal bytes.

    Raises:
        OSError: the disk is full, or the folder cannot be written.
    """
    stored = {key: value.detach().cpu().contiguous() for key, value in tensors.items()}
    with replacing(path) as temporary:
        try:
            save_file(stored, temporary, metadata)
        except SafetensorError as error:
            # the library reports a full disk as an error of its own, not as an OSError
            raise OSError(f"{path}: cannot be written: {error}") from error
        _sort_metadata(temporary)


def first_not_finite(tensors: Mapping[str, Tensor]) -> str | None:
    """Name of the first tensor that holds NaN or infinity; ``None`` if all are finite."""
    for name, value in tensors.items():
        if value.is_floating_point() and not bool(value.isfinite().all()):
            return name
    return None


def _sort_metadata(path: Path) -> None:
    """Rewrite the header with sorted metadata; the library writes them in an order that changes."""
    with open(path, "rb+") as file:
        size = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(size))
        header["__metadata__"] = dict(sorted(header.get("__metadata__", {}).items()))
        text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
        # spaces fill a header up; a text of another length would move the tensors
        assert len(text) <= size
        file.seek(8)
        file.write(text.ljust(size))
