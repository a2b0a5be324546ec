"""Modules that are imported when they are needed: the user's own, and those of optional extras."""

import importlib
import sys
from pathlib import Path
from types import ModuleType

from purespike.errors import InputError
from purespike.reading import brief

EXTRAS: dict[str, tuple[str, ...]] = {
    "demo": ("gradio",),
    "explain": ("captum",),
    "nir": ("nir", "nirtorch"),
    "onnx": ("onnx", "onnxruntime", "onnxscript"),
    "track": ("tensorboard",),
}
"""Packages of each optional extra that a user may ask for, by the names under which they are imported."""


def import_module(name: str, *, place: str) -> ModuleType:
    """The module ``name``, importable from the current folder.

    Args:
        name: name of the module, with dots for one in a package.
        place: place where the user named it, for messages.

    Raises:
        InputError: no such module, or its code fails or exits.
    """
    # a console script does not search the current folder, which holds the user's module
    if "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        return importlib.import_module(name)
    except (Exception, SystemExit) as error:
        detail = f"{type(error).__name__}: {brief(error)}"
        raise InputError(f"{place}: cannot import {name!r}: {detail}") from error


def optional(name: str, purpose: str) -> ModuleType:
    """The module ``name`` of an optional extra.

    Args:
        name: name of a module of a package in :data:`EXTRAS`.
        purpose: what needs it, for messages, e.g. ``"Grad-CAM"``.

    Raises:
        InputError: it is not installed, or cannot be imported; the message names the extra.
    """
    package = name.partition(".")[0]
    extra = next(extra for extra, packages in EXTRAS.items() if package in packages)
    try:
        return importlib.import_module(name)
    except ImportError as error:
        why = "" if (error.name or "").partition(".")[0] == package else f" ({brief(error)})"
        raise InputError(f"{purpose} needs {package}{why}: pip install 'purespike[{extra}]'") from error
