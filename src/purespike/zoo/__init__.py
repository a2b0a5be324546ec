"""Trained models that ship with purespike: a classifier, and the same one behind purifiers."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from purespike.zoo.catalogue import Entry, Part, Training
    from purespike.zoo.loading import card, entry, load
    from purespike.zoo.loading import names as list
    from purespike.zoo.pretrained import from_pretrained, save_pretrained

__all__ = [
    "Entry",
    "Part",
    "Training",
    "card",
    "entry",
    "from_pretrained",
    "list",
    "load",
    "save_pretrained",
]

_HOMES = {
    "Entry": ("catalogue", "Entry"),
    "Part": ("catalogue", "Part"),
    "Training": ("catalogue", "Training"),
    "card": ("loading", "card"),
    "entry": ("loading", "entry"),
    "list": ("loading", "names"),
    "load": ("loading", "load"),
    "from_pretrained": ("pretrained", "from_pretrained"),
    "save_pretrained": ("pretrained", "save_pretrained"),
}


def __getattr__(name: str) -> Any:
    # the command line checks names of the zoo before NumPy and PyTorch are imported
    if name in _HOMES:
        module, own = _HOMES[name]
        return getattr(importlib.import_module(f"purespike.zoo.{module}"), own)
    raise AttributeError(f"module 'purespike.zoo' has no attribute {name!r}")
