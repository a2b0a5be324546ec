"""The compiled and the eager tier, as tests choose between them."""

import contextlib
import shutil
import warnings

import pytest
import torch

from purespike.neurons import compiled

needs_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="no C++ compiler")


def everything_compiled(monkeypatch):
    """Tensors of every size go through the compiler; a fixture where it is wrapped as one."""
    monkeypatch.setenv("PURESPIKE_COMPILE", "1")
    monkeypatch.setattr(compiled, "SMALLEST", 0)
    monkeypatch.setattr(compiled, "_broken", [])
    monkeypatch.setattr(compiled, "_refused", set())


def graphs():
    return torch._dynamo.utils.counters["stats"]["unique_graphs"]


@contextlib.contextmanager
def no_fallback():
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "purespike", RuntimeWarning)
        yield
