"""Models of the zoo by their names."""

import hashlib
from pathlib import Path

from torch import nn

from purespike.errors import InputError
from purespike.models.checkpoint import load as read_model
from purespike.models.defended import Defended
from purespike.reading import reading, regular_file
from purespike.results.card import Card
from purespike.zoo.catalogue import WEIGHTS, Entry, Part, read_entry
from purespike.zoo.names import entry_names


def names() -> list[str]:
    """The names of all shipped models: a classifier, and ``-paper`` and ``-holding`` behind a purifier."""
    return list(entry_names())


def entry(name: str) -> Entry:
    """Everything about a shipped model but its weights.

    Raises:
        InputError: no such model.
    """
    return read_entry(name)


def card(name: str) -> Card:
    """The measured accuracies of a shipped model, with intervals, threat models and verdict.

    Raises:
        InputError: no such model, or one that was not measured yet.
    """
    found = read_entry(name).card
    if found is None:
        raise InputError(f"{name}: has no card yet: it was not measured")
    return found


def load(name: str) -> nn.Module:
    """A shipped model, in evaluation mode on the CPU: images ``[N, C, H, W]`` in [0, 1] to logits ``[N, K]``.

    Args:
        name: one of :func:`names`, such as ``"digits-holding"``; it takes images as
            ``load_data(entry(name).data)`` gives them.

    Raises:
        InputError: no such model, or weights that are not those of its entry.
    """
    found = read_entry(name)
    classifier = read_model(checked(found.classifier))
    if found.purifier is None:
        return classifier
    return Defended(read_model(checked(found.purifier)), classifier).eval()


def checked(part: Part) -> Path:
    """The path of a file of weights, once its content is what the entry says.

    Raises:
        InputError: the file is missing, or has another SHA-256.
    """
    path = WEIGHTS / part.file
    regular_file(path, kind="checkpoint")
    found = digest(path)
    if found != part.sha256:
        raise InputError(
            f"{path}: its sha256 is {found[:16]}…, not {part.sha256[:16]}… as shipped; "
            "install purespike again"
        )
    return path


def digest(path: Path) -> str:
    """SHA-256 of a file."""
    with reading(path, "cannot be read"), open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
