"""Progress of long work: a live bar on a terminal; elsewhere a line when it begins, and one a minute."""

import contextlib
import re
import threading
import time
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from purespike.console import plain

console = Console(stderr=True, highlight=False)

INTERVAL = 60.0
"""Seconds between the lines in a pipe."""
EARLY = 0.01
"""Share of the work before which no time left is given in a pipe."""


class Bar:
    """Counts units of work; made by :func:`bar`."""

    def __init__(
        self,
        title: str,
        total: int,
        unit: str,
        *,
        done: int = 0,
        progress: Progress | None = None,
        task: TaskID | None = None,
        silent: bool = False,
        at_most: bool = False,
    ) -> None:
        self._progress, self._task, self._silent, self._at_most = progress, task, silent, at_most
        self._note: tuple[str, tuple[Any, ...]] = ("", ())
        self._set(title, total, unit, done)

    def _set(self, title: str, total: int, unit: str, done: int) -> None:
        self._title, self._total, self._unit = title, total, unit
        self._begun = self._noted = time.monotonic()
        self._done, self._before = done, done

    def begin(self, title: str, total: int, *, unit: str) -> None:
        """Turn to a further phase of the work, on the same display."""
        self._set(title, total, unit, 0)
        if self._progress is not None and self._task is not None:
            self._progress.reset(self._task, description=title, total=total, note="")
        self.announce()

    def announce(self) -> None:
        """Say what begins and how much it is, where no bar shows it."""
        if self._progress is None:
            left = f", {self._done:,} of them done before" if self._done else ""
            most = "at most " if self._at_most else ""
            self.say(f"{self._title}: {most}{_counted(self._total, self._unit)}{left}")

    def advance(self, count: int, note: str = "", *values: Any) -> None:
        """Report ``count`` more units done; ``note``, formatted with ``values``, is shown beside the bar.

        The note is formatted a few times a second only: fetching a loss from a GPU makes it wait.
        """
        if self._at_most:
            # the bound is an estimate of the steps, without the pass that judges their result
            count = min(count, self._total - self._done)
        self._done += count
        self._note = note, values
        if self._progress is None or self._task is None:
            return
        self._progress.update(self._task, advance=count)
        now = time.monotonic()
        if now - self._noted > 0.25:
            self._noted = now
            text = f"{self._rate():,.0f} {self._unit}/s  {note.format(*values)}"
            self._progress.update(self._task, note=text)

    def line(self) -> str:
        """Progress as one line: done, left, and the note of the last advance."""
        note, values = self._note
        rate = self._rate()
        left = "time left unknown yet"
        # the first pieces pay for compilation: a hundredth of the work says little about the rest
        if rate and self._done - self._before >= EARLY * (self._total - self._before):
            how = "at most" if self._at_most else "about"
            left = f"{how} {duration((self._total - self._done) / rate)} left"
        said = f", {text}" if (text := note.format(*values)) else ""
        return f"{self._title}: {self._done:,} of {_counted(self._total, self._unit)}, {left}{said}"

    def _rate(self) -> float:
        return (self._done - self._before) / max(time.monotonic() - self._begun, 1e-9)

    def say(self, line: str) -> None:
        """Print a permanent line."""
        if not self._silent:
            (self._progress.console if self._progress is not None else console).print(
                plain(line), soft_wrap=True, markup=False
            )


def _counted(count: int, unit: str) -> str:
    """``1,000 images``, ``1 pass``."""
    return f"{count:,} {unit if count != 1 else re.sub('(?<=ss)es$|s$', '', unit)}"


def duration(seconds: float) -> str:
    """``45 s``, ``12 min``, ``3 h 20 min`` or ``4 days 6 h``."""
    if seconds < 90:
        return f"{max(round(seconds), 1)} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min"
    return f"{hours // 24} days {hours % 24} h"


_quiet: ContextVar[bool] = ContextVar("quiet", default=False)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Show no bars and lines of work that is begun inside, in this thread: a page shows its own."""
    token = _quiet.set(True)
    try:
        yield
    finally:
        _quiet.reset(token)


@contextlib.contextmanager
def bar(
    title: str,
    total: int,
    *,
    unit: str = "images",
    done: int = 0,
    show: bool = True,
    at_most: bool = False,
) -> Iterator[Bar]:
    """A bar over ``total`` units with throughput and time left.

    Args:
        title: name of the work.
        total: number of all units.
        unit: unit of the count.
        done: number of units done by an earlier run.
        show: ``False`` for processes other than the main one.
        at_most: whether ``total`` is a bound: attacks leave images that are broken.
    """
    show = show and not _quiet.get()
    if not (show and console.is_terminal):
        silent = Bar(title, total, unit, done=done, silent=not show, at_most=at_most)
        silent.announce()
        with _every_minute(silent) if show else contextlib.nullcontext():
            yield silent
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TextColumn("{task.fields[note]}"),
        *([TextColumn("at most")] if at_most else []),
        TimeRemainingColumn(),
        TextColumn("left"),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(title, total=total, completed=done, note="")
        yield Bar(title, total, unit, done=done, progress=progress, task=task, at_most=at_most)


@contextlib.contextmanager
def _every_minute(shown: Bar) -> Iterator[None]:
    """Print the line of a bar once a minute, also while a single unit takes longer."""
    ended = threading.Event()

    def speak() -> None:
        while not ended.wait(INTERVAL):
            shown.say(shown.line())

    speaker = threading.Thread(target=speak, daemon=True)
    speaker.start()
    try:
        yield
    finally:
        ended.set()
        speaker.join()
