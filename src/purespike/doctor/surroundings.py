"""Versions, compiler, devices and optional extras: what a bug report should say."""

import importlib.metadata
import importlib.util
import os
import platform
import shutil
import subprocess
from dataclasses import dataclass

import torch

from purespike.environment import PACKAGES, hardware, provenance
from purespike.importing import EXTRAS
from purespike.neurons.compiled import enabled

_VARIABLES = ("PURESPIKE_COMPILE", "PURESPIKE_CACHE", "OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES", "CXX")


@dataclass(frozen=True)
class Fact:
    """One line about the machine: a name, and what was found."""

    name: str
    text: str

    def __str__(self) -> str:
        return f"{self.name:12} {self.text}"


def describe_versions() -> list[Fact]:
    """purespike with its commit, Python, and the packages that decide numbers."""
    origin = provenance(seed=0)
    versions = dict(origin["versions"])
    own, python = versions.pop("purespike", "not installed"), versions.pop("python")
    commit = (
        f" at {origin['commit'][:10]}{' (changed)' if origin['dirty'] else ''}" if origin["commit"] else ""
    )
    packages = ", ".join(f"{name} {versions[name]}" for name in PACKAGES if name in versions)
    return [
        Fact("purespike", f"{own}{commit}"),
        Fact("Python", f"{python}, {platform.platform(terse=True)}"),
        Fact("packages", packages),
    ]


def describe_machine() -> list[Fact]:
    """Processor, threads, GPUs, the compiler for neurons, and the variables that change any of it."""
    machine = hardware(torch.device("cpu"))
    facts = [
        Fact("CPU", f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_gib']} GiB memory"),
        Fact("threads", f"{machine['threads']}, vector instructions {_capability()}"),
        Fact("GPU", _gpus()),
        Fact("compiler", _compiler()),
    ]
    set_here = [f"{name}={os.environ[name]}" for name in _VARIABLES if name in os.environ]
    return [*facts, Fact("variables", ", ".join(set_here) or "none of ours is set")]


def describe_extras() -> list[Fact]:
    """Each optional extra: its packages with versions, or how to install it."""
    facts = []
    for extra, packages in EXTRAS.items():
        missing = [name for name in packages if importlib.util.find_spec(name) is None]
        found = [f"{name} {_version(name)}" for name in packages if name not in missing]
        remedy = f"missing {', '.join(missing)}: pip install 'purespike[{extra}]'"
        facts.append(Fact(f"[{extra}]", "; ".join([*found, *([remedy] if missing else [])])))
    return facts


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "of unknown version"


def _capability() -> str:
    get = getattr(torch.backends.cpu, "get_cpu_capability", None)
    return str(get()) if get else "unknown"


def _gpus() -> str:
    if torch.cuda.is_available():
        places = [torch.cuda.get_device_properties(number) for number in range(torch.cuda.device_count())]
        return ", ".join(f"{each.name} ({each.total_memory / 2**30:.0f} GiB)" for each in places)
    if torch.backends.mps.is_available():
        return "Apple (mps)"
    built = torch.version.cuda or getattr(torch.version, "hip", None)
    return "none" + ("" if built else "; this PyTorch is built for CPUs alone")


def _compiler() -> str:
    """The C++ compiler that kernels need on a CPU, and whether they may be compiled."""
    names = filter(None, (os.environ.get("CXX"), "g++", "clang++", "c++"))
    path = next((found for name in names if (found := shutil.which(name))), None)
    if path is None:
        text = "none found: install g++ or clang++, neurons are several times faster compiled"
    else:
        text = _first_line(path)
    if torch.cuda.is_available() and importlib.util.find_spec("triton") is None:
        text += "; no triton, which a GPU needs"
    return text if enabled() else f"{text}; unused, since PURESPIKE_COMPILE=0"


def _first_line(compiler: str) -> str:
    try:
        done = subprocess.run([compiler, "--version"], capture_output=True, text=True, timeout=10, check=True)
        return done.stdout.splitlines()[0]
    except (OSError, subprocess.SubprocessError, IndexError) as error:
        return f"{compiler} does not run ({type(error).__name__})"
