"""An input with what must come of it, declared before it is tried, and the judge."""

import re
import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Literal

from torture.process import Ended, Hook
from torture.scenes import Desk
from torture.work import tail

Oracle = Literal["bad", "may pass", "good"]
"""``bad`` input is refused; ``good`` input is accepted; other input either, but it is never a traceback."""
LINES, MEBIBYTES = 3, 1024
_PROGRESS = re.compile(
    r"^(?!purespike: error).*: ([\d,]+ (of [\d,]+ )?(files|images|passes|steps|epochs)\b|\d.*% of )"
)
_SIGXCPU = -24

Make = Callable[[Path, Desk, Random], Sequence[object]]
"""A function that puts files into a folder and returns the command line."""


@dataclass(frozen=True)
class Input:
    """One input.

    Args:
        name: kind of damage.
        oracle: what must come of it.
        make: function that makes it.
        hooks: functions that the process calls first.
    """

    name: str
    oracle: Oracle
    make: Make
    hooks: tuple[Hook, ...] = ()


def judge(ended: Ended, oracle: Oracle, arguments: Sequence[object]) -> Iterator[tuple[str, str]]:
    """Promises that did not hold."""
    line = shlex.join(str(each) for each in arguments)
    said = f"{line[:300]}: code {ended.code}: {tail(ended.err)}"
    if ended.hung or ended.code == _SIGXCPU:
        yield "time is bounded", said
        return
    if ended.growth > MEBIBYTES:
        yield "memory is bounded", f"{ended.growth:,.0f} MiB: {said}"
    if "Traceback (most recent call last)" in ended.err:
        yield "no traceback", said
        return
    if ended.code not in (0, 2):
        yield "exit code 0 or 2", said
        return
    if oracle == "bad" and ended.code == 0:
        yield "bad input is refused", said
    if oracle == "good" and ended.code == 2:
        yield "good input is accepted", said
    if ended.code == 2 and len(ended.errors) != 1:
        yield "one message", said
    # what is accepted may report as much as it likes
    if (
        ended.code == 2
        and len([each for each in ended.err.splitlines() if not _PROGRESS.match(each)]) > LINES
    ):
        yield f"at most {LINES} lines", said


def flipped(content: bytes, draw: Random, start: int = 0, end: int | None = None) -> bytes:
    """``content`` with one bit between two places turned over."""
    place = draw.randrange(start, len(content) if end is None else end)
    return content[:place] + bytes([content[place] ^ 1 << draw.randrange(8)]) + content[place + 1 :]


def truncated(content: bytes, draw: Random, start: int = 0, end: int | None = None) -> bytes:
    """``content`` up to a place between two others."""
    return content[: draw.randrange(start, len(content) if end is None else end)]
