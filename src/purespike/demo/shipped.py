"""The weights that come with the package, side by side: the one place that asks the zoo for them."""

import importlib

from torch import nn

from purespike.data.sources import source_names
from purespike.errors import InputError

_PARTS = {"-paper": "the paper's purifier", "-holding": "the holding purifier"}


def shipped() -> tuple[dict[str, nn.Module], dict[str, list[str]]]:
    """The models of the zoo by name, and the data sources of each.

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
    return {name: zoo.load(name) for name in names}, {name: sources_of(name) for name in names}


def title_of(name: str) -> str:
    """The title of a shipped model beside others of its classifier."""
    return next((title for part, title in _PARTS.items() if name.endswith(part)), name)


def sources_of(name: str) -> list[str]:
    """The data source that the name of a shipped model begins with, if it begins with one."""
    for part in _PARTS:
        name = name.removesuffix(part)
    known = source_names()
    return [each for each in (name, name.partition("-")[0]) if each in known][:1]
