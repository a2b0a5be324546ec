"""Origin of a result: command, commit, seed, hardware and versions."""

import datetime
import functools
import hashlib
import importlib.metadata
import os
import platform
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

PACKAGES = ("purespike", "torch", "numpy", "accelerate", "datasets", "torchmetrics", "safetensors")


def provenance(*, seed: int, device: torch.device | str = "cpu") -> dict[str, Any]:
    """Everything needed to repeat a result, as plain JSON values.

    Args:
        seed: the seed of the run.
        device: device of the models.

    Returns:
        ``command``, ``commit`` (``None`` outside a git checkout), ``dirty``, ``seed``, ``date``,
        ``hardware`` and ``versions``.
    """
    commit, dirty = _commit()
    return {
        "command": _command(),
        "commit": commit,
        "dirty": dirty,
        "seed": seed,
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "hardware": hardware(torch.device(device)),
        "versions": {"python": platform.python_version(), **_versions()},
    }


@functools.cache
def source_digest() -> str:
    """SHA-256 of all files of this package's source, by which kept findings are told from an older code's."""
    here, digest = Path(__file__).resolve().parent, hashlib.sha256()
    for path in sorted(here.rglob("*.py")):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(here).as_posix()} {len(content)}\n".encode() + content)
    return digest.hexdigest()


def _command() -> str:
    # the name of the program only: its install path is private
    program = Path(sys.argv[0])
    names = [program.name]
    if program.name == "__main__.py":
        package = program.parent.name
        names = [package] if package == "purespike" else ["python", "-m", package]
    return shlex.join([*names, *sys.argv[1:]])


@functools.cache
def _commit() -> tuple[str | None, bool]:
    """Commit of the checkout this package is imported from, and whether its tracked files differ."""
    here = Path(__file__).resolve().parent

    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", "-C", str(here), *arguments], capture_output=True, text=True, check=True, timeout=10
        ).stdout.strip()

    try:
        # an installed copy inside somebody else's repository is not a checkout of ours
        git("ls-files", "--error-unmatch", "environment.py")
        return git("rev-parse", "HEAD"), bool(git("status", "--porcelain", "--untracked-files=no", "."))
    except (OSError, subprocess.SubprocessError):
        return None, False


def hardware(device: torch.device) -> dict[str, Any]:
    """Device, processor, cores, threads and memory, as plain JSON values."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 0
    return {
        "device": name,
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "memory_gib": round(pages / 2**30, 1),
    }


def _cpu() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _versions() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
