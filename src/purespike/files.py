"""Atomic writes: a reader sees the old file or the new one, never half of either."""

import contextlib
import json
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from purespike.errors import InputError, kind_of


def as_path(value: Any, *, name: str) -> Path:
    """``value`` as a path.

    Raises:
        InputError: it is no text and no path; the message calls it ``name``.
    """
    if not isinstance(value, str | os.PathLike):
        raise InputError(f"{name}: a path is needed, got {kind_of(value)}")
    return Path(value)


@contextlib.contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; on success flush it to disk and rename it over ``path``.

    On any exception (a full disk, an interrupt) the temporary file is removed and ``path`` stays as it was.

    Raises:
        OSError: the file cannot be written; the message names it.
    """
    path = Path(path)
    with _naming(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        # with the process that owns it; a long name is cut, since file systems end at 255 bytes
        prefix = f".{path.name[:40]}.{os.getpid()}."
        handle, name = tempfile.mkstemp(prefix=prefix, suffix=".part", dir=path.parent)
        os.close(handle)
        with _replaced(Path(name), path):
            yield Path(name)


@contextlib.contextmanager
def _naming(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        # writing and flushing name no file
        if error.filename is None and error.errno is not None:
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise


@contextlib.contextmanager
def _replaced(temporary: Path, path: Path) -> Iterator[None]:
    try:
        yield
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        # mkstemp makes private files; the files of a run get the user's usual permissions
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_directory(path.parent)


def is_temporary(path: Path) -> bool:
    """Whether ``path`` is named like a file that :func:`replacing` is writing, or was when it was killed."""
    return _owner(path) is not None


def remove_abandoned(folder: Path) -> None:
    """Remove temporary files that killed processes left below ``folder``; those of living ones stay."""
    for part in folder.rglob(".*.part"):
        owner = _owner(part)
        if owner is not None and not _alive(owner):
            part.unlink(missing_ok=True)


def _owner(path: Path) -> int | None:
    """The process that a temporary file is named after; ``None`` for other files."""
    match = re.fullmatch(r"\..*\.(\d+)\.\w{8}\.part", path.name)
    return int(match[1]) if match else None


def _alive(process: int) -> bool:
    if process == os.getpid():
        return True
    try:
        os.kill(process, 0)
    except PermissionError:
        return True
    except (OSError, OverflowError):
        return False
    return True


def write_text(path: str | Path, text: str) -> None:
    """Write ``text`` to ``path`` atomically; half a surrogate pair, which no file can hold, becomes ``?``."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="replace")


def write_bytes(path: str | Path, content: bytes) -> None:
    """Write ``content`` to ``path`` atomically."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def write_json(path: str | Path, value: Any) -> None:
    """Write ``value`` as indented JSON to ``path`` atomically; NaN is refused, since JSON has none."""
    text = json.dumps(value, indent=1, allow_nan=False)
    # a thousand outcomes on a line, not on a thousand lines; strings hold no raw line breaks
    text = re.sub(r"\[\n\s+([^\[\]{}\"]+?)\n\s+\]", lambda match: f"[{_one_line(match[1])}]", text)
    write_text(path, text + "\n")


def _one_line(text: str) -> str:
    return re.sub(r",\n\s+", ", ", text)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _sync_directory(path: Path) -> None:
    # the rename itself is durable only once the directory is on disk
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
