"""What a reference consists of: keys with their types and defaults, in topics, in chapters."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Key:
    """One setting.

    Args:
        place: dotted place in a recipe, or the name of a setting.
        kind: type in words.
        default: default as YAML; empty where it must be given.
        limits: range as an interval, e.g. ``[0, 1)``; empty where there is none.
        about: meaning.
        scaling: what it should be when epochs, image size or the amount of data change.
        others: former and other names.
    """

    place: str
    kind: str
    default: str
    limits: str = ""
    about: str = ""
    scaling: str = ""
    others: tuple[str, ...] = ()


@dataclass(frozen=True)
class Topic:
    """Something with a name and settings: a section of a recipe, an attack, a coding, …

    Args:
        name: name in recipes.
        about: description.
        keys: settings.
    """

    name: str
    about: str
    keys: tuple[Key, ...] = ()


@dataclass(frozen=True)
class Chapter:
    """Everything of one kind.

    Args:
        name: name that ``purespike recipe`` takes.
        title: heading.
        about: introduction, with an example of the spelling.
        topics: the members.
    """

    name: str
    title: str
    about: str
    topics: tuple[Topic, ...]
