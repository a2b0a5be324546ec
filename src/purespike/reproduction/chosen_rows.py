"""The rows of a table that a command asks for."""

from collections.abc import Sequence

from purespike.errors import InputError, unknown
from purespike.text import split


def chosen_rows(given: Sequence[str], known: Sequence[str]) -> list[str]:
    """The rows that are ``given``, each a name (which may hold commas) or several with commas; all if none.

    Args:
        given: what the user wrote.
        known: names of all rows, in the order of the table.

    Raises:
        InputError: an unknown row, or text that names none.
    """
    named = [name for text in given for name in ([text] if text in known else split(text))]
    if given and not named:
        raise InputError("rows: names no row; leave it out for all")
    for name in named:
        if name not in known:
            raise unknown("row", name, known)
    return list(dict.fromkeys(named)) or list(known)
