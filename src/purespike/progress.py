"""Progress of long work: a live bar on a terminal, lines elsewhere."""

import contextlib
import time
from collections.abc import Iterator
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

console = Console(stderr=True, highlight=False)


class Bar:
    """Counts units of work; made by :func:`bar`."""

    def __init__(self, progress: Progress | None, task: TaskID | None, unit: str) -> None:
        self._progress, self._task, self._unit = progress, task, unit
        self._begun = self._noted = time.monotonic()
        self._done = 0

    def advance(self, count: int, note: str = "", *values: Any) -> None:
        """Report ``count`` more units done; ``note``, formatted with ``values``, is shown beside the bar.

        The note is formatted a few times a second only: fetching a loss from a GPU makes it wait.
        """
        self._done += count
        if self._progress is None or self._task is None:
            return
        self._progress.update(self._task, advance=count)
        now = time.monotonic()
        if now - self._noted > 0.25:
            self._noted = now
            rate = self._done / (now - self._begun)
            text = f"{rate:,.0f} {self._unit}/s  {note.format(*values)}"
            self._progress.update(self._task, note=text)

    def say(self, line: str) -> None:
        """Print a permanent line."""
        (self._progress.console if self._progress is not None else console).print(line, soft_wrap=True)


@contextlib.contextmanager
def bar(title: str, total: int, *, unit: str = "images", done: int = 0, show: bool = True) -> Iterator[Bar]:
    """A bar over ``total`` units with throughput and time left.

    Args:
        title: name of the work.
        total: number of all units.
        unit: unit of the count.
        done: number of units done by an earlier run.
        show: ``False`` for processes other than the main one.
    """
    if not (show and console.is_terminal):
        silent = Bar(None, None, unit)
        if not show:
            silent.say = lambda line: None  # type: ignore[method-assign]
        yield silent
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TextColumn("{task.fields[note]}"),
        TimeRemainingColumn(),
        TextColumn("left"),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(title, total=total, completed=done, note="")
        yield Bar(progress, task, unit)
