"""The weights that come with the package, side by side."""

from torch import nn

from purespike import zoo
from purespike.errors import InputError

_PARTS = {"-paper": "the paper's purifier", "-holding": "the holding purifier"}


def shipped() -> tuple[dict[str, nn.Module], dict[str, list[str]]]:
    """The models of the zoo by name, and the data sources of each.

    Raises:
        InputError: this version ships no weights, or they are damaged.
    """
    names = zoo.list()
    if not names:
        raise InputError(
            "demo: name a MODEL, e.g. a run folder; this version comes without weights of its own"
        )
    return {name: zoo.load(name) for name in names}, {name: [zoo.entry(name).data] for name in names}


def title_of(name: str) -> str:
    """The title of a shipped model beside others of its classifier."""
    return next((title for part, title in _PARTS.items() if name.endswith(part)), name)
