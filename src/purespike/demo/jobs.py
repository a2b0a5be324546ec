"""Work in a thread of its own, one piece at a time and within a time limit, told about while it runs."""

import queue
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from purespike.errors import InputError
from purespike.models.answer import passes_told

T = TypeVar("T")
_END = object()


class TimeUp(InputError):
    """The time limit is over."""


class _Left(BaseException):
    """The job was stopped, or nobody reads its results; nothing but a ``finally`` may hold it up."""


class Jobs:
    """Runs one job at a time; a second one waits until the first has ended.

    Args:
        limit: seconds that a job may take, counted from its beginning. It is looked at after every pass
            through a model, and whenever the job tells something.
    """

    def __init__(self, limit: float = 300.0) -> None:
        if not limit > 0:
            raise InputError(f"limit: seconds that a job may take, more than 0, got {limit:g}")
        self.limit = limit
        self._busy = threading.Lock()
        self._current: threading.Event | None = None

    def stop(self) -> None:
        """End the job that runs, if one does, at its next pass; its reader gets what was told before."""
        if (current := self._current) is not None:
            current.set()

    def run(self, work: Callable[[Callable[[T], None]], None]) -> Iterator[T]:
        """What ``work`` tells, value by value; closing the iterator ends the work at its next pass.

        The work has a thread of its own: a page may ask for every value from another one, and modes of
        autograd and temporary settings of models belong to a thread or to an order of calls.

        Args:
            work: function that is given the function to tell values with.

        Raises:
            TimeUp: the limit is over.
            Exception: whatever ``work`` raises.
        """
        told: queue.SimpleQueue[Any] = queue.SimpleQueue()
        left = threading.Event()
        thread = threading.Thread(target=self._work, args=(work, told, left), daemon=True, name="job")
        thread.start()
        try:
            while (value := told.get()) is not _END:
                if isinstance(value, _Failed):
                    raise value.error
                yield value
        finally:
            left.set()

    def _work(
        self,
        work: Callable[[Callable[[T], None]], None],
        told: "queue.SimpleQueue[Any]",
        left: threading.Event,
    ) -> None:
        with self._busy:
            self._current, end = left, time.monotonic() + self.limit

            def check(*_: object) -> None:
                if left.is_set():
                    raise _Left
                if time.monotonic() > end:
                    raise TimeUp(f"stopped after {self.limit:g} s; take fewer steps or draws")

            def tell(value: T) -> None:
                check()
                told.put(value)

            try:
                check()
                with passes_told(check):
                    work(tell)
            except _Left:
                pass
            except BaseException as error:
                told.put(_Failed(error))
            finally:
                self._current = None
                told.put(_END)


class _Failed:
    """An error on its way to the reader."""

    def __init__(self, error: BaseException) -> None:
        self.error = error
