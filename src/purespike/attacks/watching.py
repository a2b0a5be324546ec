"""Watching an attack by gradient steps: every iterate is told while it runs."""

import contextlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import NamedTuple

from torch import Tensor


class Sighting(NamedTuple):
    """The iterates of an attack at one step.

    Args:
        step: number of the step; 0 is the start, and so is that of a restart.
        rows: places of the iterates in the batch that is attacked, ``[M]``: images that left are not told.
        images: ``[M, C, H, W]``; not to be changed.
        losses: attacked loss of each, ``[M]``.
        success: bool ``[M]``: the attacked model misclassifies it.
    """

    step: int
    rows: Tensor
    images: Tensor
    losses: Tensor
    success: Tensor


_watcher: ContextVar[Callable[[Sighting], None] | None] = ContextVar("watcher", default=None)


@contextlib.contextmanager
def watching(tell: Callable[[Sighting], None]) -> Iterator[None]:
    """Call ``tell`` with every :class:`Sighting` of an attack that runs inside, in this thread.

    Attacks of other mechanisms, such as Square or those of AutoAttack, have no steps to tell. An error that
    ``tell`` raises ends the attack.
    """
    token = _watcher.set(tell)
    try:
        yield
    finally:
        _watcher.reset(token)


def watcher() -> Callable[[Sighting], None] | None:
    """The function that is told; ``None`` outside :func:`watching`."""
    return _watcher.get()
