"""The error of input that cannot be used."""

import difflib
from collections.abc import Iterable


class InputError(ValueError):
    """Input that cannot be used; the message says what is wrong, where, and how to fix it.

    The command line prints it as one line and exits with code 2.
    """


class Absent(InputError):
    """Something that was not measured or not kept: a page leaves out what would have shown it."""


def brief(value: object) -> str:
    """``value`` as a message shows it: its repr, cut after 80 characters."""
    try:
        text = repr(value)
    except ValueError:
        # Python refuses to write whole numbers of thousands of digits
        return "a number of too many digits"
    return text if len(text) <= 80 else f"{text[:80]}…"


def kind_of(value: object) -> str:
    """The type of a value, of a tensor or an array also its shape, for messages."""
    shape = getattr(value, "shape", None)
    return type(value).__name__ + (f" {list(shape)}" if isinstance(shape, tuple) else "")


def unknown(kind: str, name: str, known: Iterable[str]) -> InputError:
    """The error for a name that no registry holds, with the nearest known name.

    Args:
        kind: kind of thing that the name denotes, e.g. ``"attack"``.
        name: name that the user wrote.
        known: every name that would have been accepted.
    """
    names = sorted(known)
    if not isinstance(name, str):
        return InputError(f"{kind}: name one of {', '.join(names)}; got {kind_of(name)}")
    name = name if len(name) <= 80 else f"{name[:80]}…"
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return InputError(f"unknown {kind} {name!r}: {hint}known: {', '.join(names)}")
