"""Reading of files that others wrote: a mistake in one is a single line that names the file."""

import contextlib
import json
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from purespike.errors import InputError

if TYPE_CHECKING:
    import numpy as np

MEBIBYTE = 2**20
_LARGEST_TEXT = 512 * MEBIBYTE
# archives and images of equal pixels shrink a thousandfold, and small ones may; photographs shrink tenfold
_UNPACKED_AT_LEAST, _UNPACKED_TIMES = 64 * MEBIBYTE, 100


@contextlib.contextmanager
def reading(place: object, fault: str, *, remedy: str = "") -> Iterator[None]:
    """Turn any error of a parser inside into one :class:`InputError`: ``place: fault (reason); remedy``.

    Args:
        place: path of the file, or another name for the origin of the text.
        fault: the general fault, e.g. ``"not a readable image"``.
        remedy: advice to the user.
    """
    try:
        yield
    except InputError:
        raise
    # the errors that foreign bytes cause in parsers have no common base class: no list of them is complete
    except Exception as error:
        raise InputError(f"{place}: {fault} ({brief(error)}){remedy and f'; {remedy}'}") from error


def brief(error: BaseException, *, limit: int = 200) -> str:
    """The message of an error on one line, cut after ``limit`` characters; its type's name if it has none."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= limit else f"{text[:limit]}…"


def regular_file(path: str | Path, *, limit: int | None = None, kind: str = "file", hint: str = "") -> Path:
    """``path``, if it is a file that can be read to its end.

    Args:
        path: path of the file; links are followed.
        limit: largest size in bytes.
        kind: kind of file in messages, e.g. ``"checkpoint"``.
        hint: advice for a file that is missing, e.g. ``"; run `purespike evaluate` first"``.

    Raises:
        InputError: missing, a folder, a pipe or a device, or larger than ``limit``.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"{path}: {'link to nothing' if path.is_symlink() else f'no such {kind}'}{hint}")
    if not path.is_file():
        found = "a folder" if path.is_dir() else "a pipe or a device"
        raise InputError(f"{path}: is {found}, not a {kind}")
    size = path.stat().st_size
    if limit is not None and size > limit:
        raise InputError(f"{path}: has {megabytes(size)}; the limit of a {kind} is {megabytes(limit)}")
    return path


def check_unpacked(place: object, *, packed: int, unpacked: int) -> None:
    """Refuse compressed content that would take far more memory than its file suggests.

    Args:
        place: path of the file.
        packed: size of the file in bytes.
        unpacked: size of its content in bytes, as the file declares it.

    Raises:
        InputError: more than 64 MiB, and more than a hundred times the file.
    """
    limit = max(_UNPACKED_AT_LEAST, _UNPACKED_TIMES * packed)
    if unpacked > limit:
        raise InputError(
            f"{place}: would unpack from {megabytes(packed)} to {megabytes(unpacked)}; the limit is "
            f"{_UNPACKED_TIMES} times the file, or {megabytes(_UNPACKED_AT_LEAST)}"
        )


def megabytes(size: int) -> str:
    """A number of bytes in MB, or in KB below 1 MB."""
    return f"{size / MEBIBYTE:,.0f} MB" if size >= MEBIBYTE else f"{size / 1024:.0f} KB"


def read_text(path: str | Path, *, hint: str = "") -> str:
    """The text of a file of at most 512 MB.

    Raises:
        InputError: missing, larger, unreadable or not UTF-8.
    """
    regular_file(path, limit=_LARGEST_TEXT, hint=hint)
    with reading(path, "cannot be read"):
        return Path(path).read_text(encoding="utf-8")


def parse_json(text: str, place: object) -> Any:
    """The value of a JSON text; ``place`` names its origin in messages.

    Raises:
        InputError: not JSON, nested too deeply, or a text that no file can hold.
    """
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(f"{place}: not JSON (line {error.lineno}: {error.msg})") from None
    except RecursionError:
        raise InputError(f"{place}: not JSON (nested too deeply)") from None
    except ValueError as error:
        raise InputError(f"{place}: not JSON ({brief(error)})") from None
    # half of a surrogate pair would fail much later, when a page with it is written
    if "\\ud" in text.lower():
        with reading(place, "holds a text that is not Unicode"):
            json.dumps(value, ensure_ascii=False).encode()
    return value


def read_npz(
    path: str | Path,
    *,
    required: Collection[str] = (),
    optional: Collection[str] | None = None,
    hint: str = "",
    layout: str = "",
) -> "dict[str, np.ndarray]":
    """The arrays of an ``.npz`` archive without pickles, by name.

    Args:
        path: path of the file.
        required: names of arrays that must be there.
        optional: names of other arrays to read; ``None`` for all.
        hint: advice for a file that is missing.
        layout: advice for an archive without a required array.

    Raises:
        InputError: missing, damaged, not such an archive, without a required array, or a small file that
            unpacks to far more.
    """
    import numpy as np

    regular_file(path, hint=hint)
    with reading(
        path, "cannot be read as npz, truncated or not plain arrays", remedy="write or copy it again"
    ):
        archive = np.load(path, allow_pickle=False)
        if isinstance(archive, np.ndarray):
            raise InputError(
                f"{path}: one array, not an npz archive; write it with numpy.savez(file, x=x, y=y)"
            )
        with archive:
            if missing := [name for name in required if name not in archive.files]:
                found = ", ".join(archive.files) or "none"
                raise InputError(f"{path}: no array {' and '.join(missing)} (found: {found}){layout}")
            chosen = [
                name for name in archive.files if optional is None or name in required or name in optional
            ]
            unpacked = sum(member.file_size for member in archive.zip.infolist())
            check_unpacked(path, packed=Path(path).stat().st_size, unpacked=unpacked)
            content = {name: archive[name] for name in chosen}
            # numpy returns a zip member that is not an array as bytes
            if not all(isinstance(value, np.ndarray) for value in content.values()):
                raise ValueError("a member is not a numpy array")
            return content
