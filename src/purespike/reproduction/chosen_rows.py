"""The rows of a table that a command asks for."""

from collections.abc import Iterator, Sequence

from purespike.errors import InputError, unknown
from purespike.text import split


def chosen_rows(given: Sequence[str], known: Sequence[str]) -> list[str]:
    """The rows that are ``given``, one name or several with commas; all if none.

    A name may hold commas itself: of what could be one name or several, the longest name counts.

    Args:
        given: what the user wrote.
        known: names of all rows, in the order of the table.

    Raises:
        InputError: an unknown row, or text that names none.
    """
    named = [name for text in given for name in _names(text, known)]
    if given and not named:
        raise InputError("rows: names no row; leave it out for all")
    for name in named:
        if name not in known:
            raise unknown("row", name, known)
    return list(dict.fromkeys(named)) or list(known)


def _names(text: str, known: Sequence[str]) -> Iterator[str]:
    parts = split(text)
    while parts:
        length = next((n for n in range(len(parts), 0, -1) if ", ".join(parts[:n]) in known), 1)
        yield ", ".join(parts[:length])
        parts = parts[length:]
