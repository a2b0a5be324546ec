"""Modules of the user's own, whose code registers what a recipe or the command line then names."""

import importlib
import sys
from pathlib import Path
from types import ModuleType

from purespike.errors import InputError
from purespike.reading import brief


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
