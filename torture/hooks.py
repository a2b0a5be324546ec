"""Disturbances from inside a process: at a write it is killed, its disk is full, or its folder gone."""

import ctypes
import errno
import hashlib
import json
import os
import re
import resource
import shutil
import signal
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

ALIKE = 3
"""Chunks of one piece of work whose writes fail in turn; the others are written by the same code."""


def _at_event(number: int, folder: Path, act: Callable[[], None]) -> None:
    """Call ``act`` at the ``number``-th time that a file below ``folder`` is opened to write, or renamed."""
    seen, root = 0, str(folder)

    def audit(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal seen
        if event == "open":
            path, _, flags = arguments
            counts = isinstance(flags, int) and bool(flags & (os.O_WRONLY | os.O_RDWR))
        elif event in ("os.rename", "os.remove", "os.truncate"):
            path, counts = arguments[0], True
        else:
            return
        if counts and isinstance(path, str | Path) and str(path).startswith(root):
            seen += 1
            if seen == number:
                act()

    sys.addaudithook(audit)


def killed_at(number: int, folder: Path) -> None:
    """Kill this process at its ``number``-th event of a file below ``folder``."""
    _at_event(number, folder, lambda: os.kill(os.getpid(), signal.SIGKILL))


def folder_gone_at(number: int, folder: Path) -> None:
    """Remove ``folder`` at the ``number``-th event of a file below it."""
    _at_event(number, folder, lambda: shutil.rmtree(folder))


def disk_full_at(number: int, folder: Path, note: Path) -> None:
    """Let a write fail as on a full disk; first add the path and the state of ``folder`` to ``note``.

    Args:
        number: count of the write to ``folder`` that fails; 0 for the first to a path not yet in ``note``, of
            which at most ``ALIKE`` are named by a digest in one folder: the chunks of one piece of work.
        folder: folder of the results.
        note: file of one line of JSON for each failed write.
    """
    flush, seen = os.fsync, 0
    failed = [json.loads(line)["path"] for line in note.read_text().splitlines()] if note.exists() else []
    kinds = Counter(map(_kind, failed))

    def full(handle: int) -> None:
        nonlocal seen
        place = Path(os.readlink(f"/proc/self/fd/{handle}"))
        # a folder is flushed after its file
        if place.name.endswith(".part") and place.is_relative_to(folder):
            seen += 1
            path = str(place.parent.relative_to(folder) / place.name.rsplit(".", 3)[0].lstrip("."))
            if seen == number or not (number or path in failed or kinds[_kind(path)] >= ALIKE):
                with open(note, "a", encoding="utf-8") as file:
                    print(json.dumps({"path": path, "state": state(folder)}), file=file)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        flush(handle)

    os.fsync = full  # type: ignore[assignment]


def _kind(path: str) -> str:
    """``path``, the same for all chunks in one folder; other files are of a kind of their own."""
    return re.sub(r"[0-9a-f]{24}", "*", path)


def small_files(size: int) -> None:
    """Let the system itself refuse files of more than ``size`` bytes, whatever writes them."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def without_privileges() -> None:
    """Give up the capabilities with which root writes into folders that are read-only (capset(2))."""
    header, none = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
    if ctypes.CDLL(None, use_errno=True).capset(header, none) != 0:
        raise OSError(ctypes.get_errno(), "capset")


def stop_before_training() -> None:
    """End with exit code 0 where a recipe has been accepted, and its training would begin."""
    import purespike.experiment as experiment

    def accepted(*_: object, **__: object) -> None:
        print("accepted")
        raise SystemExit(0)

    experiment.train_classifier = accepted  # type: ignore[assignment]


def state(folder: Path) -> dict[str, str]:
    """Digest of every file below ``folder`` but those that are being written."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.endswith(".part")
    }
