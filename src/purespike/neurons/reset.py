"""Whether gradients flow through the reset of a membrane."""

from typing import Literal

from purespike.errors import unknown

Reset = Literal["attached", "detached"]
RESETS: tuple[Reset, ...] = ("attached", "detached")


def parse_reset(reset: str) -> Reset:
    """Return ``reset`` if it is ``"attached"`` or ``"detached"``.

    Raises:
        InputError: anything else.
    """
    if reset not in RESETS:
        raise unknown("reset", str(reset), RESETS)
    return reset
