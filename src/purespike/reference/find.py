"""What a name in a recipe means: a key, a section, a chapter, or something registered."""

import difflib
from collections.abc import Iterator

from purespike.errors import InputError, brief
from purespike.reference.entry import Chapter, Topic
from purespike.reference.sections import recipe_keys, sections
from purespike.reference.titles import TITLES


def find(name: str) -> list[tuple[str, Topic]]:
    """The topics that ``name`` stands for, each with its heading; a key is a topic of its own.

    Args:
        name: ``classifier.epochs`` or ``epochs``, ``classifier``, ``attacks``, or ``pgd``. Keys and sections
            are found without importing PyTorch.

    Raises:
        InputError: nothing is called that.
    """
    keys = recipe_keys()
    places = [place for place in keys if name in (place, place.rpartition(".")[2])]
    if not places:
        # classifier.schedule.milestones is a setting of what classifier.schedule names
        places = [place for place in keys if name.startswith(f"{place}.") and "." in place]
    named = [("section", topic) for topic in sections().topics if topic.name == name]
    if named or places:
        return named or [("key", Topic(place, "", (keys[place],))) for place in places]
    found = list(_registered(name))
    if not found:
        known = {*keys, *(place.rpartition(".")[2] for place in keys), *_sections(), *_names()}
        near = difflib.get_close_matches(name, sorted(known), 3)
        meant = f"; did you mean {' or '.join(near)}?" if near else ""
        raise InputError(f"nothing in a recipe is called {brief(name)}{meant} (purespike recipe lists all)")
    return found


def _sections() -> list[str]:
    return [topic.name for topic in sections().topics]


def chapters() -> Iterator[Chapter]:
    """All chapters of things registered; imports PyTorch."""
    from purespike.reference.registered import chapter

    yield from map(chapter, TITLES)


def _registered(name: str) -> Iterator[tuple[str, Topic]]:
    for chapter in chapters():
        for topic in chapter.topics:
            if chapter.name == name or topic.name == name:
                yield chapter.title, topic


def _names() -> list[str]:
    return [name for chapter in chapters() for name in (chapter.name, *(one.name for one in chapter.topics))]
