"""The weights that come with the package, side by side: the one place that asks the zoo for them."""

import importlib

from torch import nn

from purespike.data.sources import source_names
from purespike.errors import InputError

_PARTS = ("-paper", "-holding")


def shipped() -> tuple[dict[str, nn.Module], dict[str, str | None]]:
    """The models of the zoo by name, and the data source of each.

    Raises:
        InputError: this version ships no weights, or they are damaged.
    """
    try:
        zoo = importlib.import_module("purespike.zoo")
    except ModuleNotFoundError as error:
        raise InputError(
            "demo: name a MODEL, e.g. a run folder; this version comes without weights of its own"
        ) from error
    names = list(zoo.list())
    return {name: zoo.load(name) for name in names}, {name: source_of(name) for name in names}


def source_of(name: str) -> str | None:
    """The data source that the name of a shipped model begins with; ``None`` if it begins with none."""
    for part in _PARTS:
        name = name.removesuffix(part)
    known = source_names()
    return next((each for each in (name, name.partition("-")[0]) if each in known), None)
