"""The command line: parse, call, print. Heavy imports wait until a command runs."""

import contextlib
import io
import os
import signal
import sys
import threading
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import typer

from purespike.cli import runs

# isort: split
from purespike.allocator import keep_freed_memory
from purespike.cli import (
    certification,
    demo,
    doctor,
    evaluations,
    exporting,
    reference,
    rejection,
    reproduction,
    review,
    zoo,
)
from purespike.cli.options import app
from purespike.console import fail

# typer exports only errors derived from this one
_UsageError: Any = typer.BadParameter.__mro__[1]

__all__ = [
    "app",
    "certification",
    "demo",
    "doctor",
    "evaluations",
    "exporting",
    "main",
    "reference",
    "rejection",
    "reproduction",
    "review",
    "runs",
    "zoo",
]


def main() -> None:
    """Entry point: errors a user can fix are one line and exit code 2, a traceback comes with --debug."""
    debug = "--debug" in sys.argv[1:]
    sys.argv[1:] = [argument for argument in sys.argv[1:] if argument != "--debug"]
    for stream in (sys.stdout, sys.stderr):
        # a name that the terminal cannot write costs no results
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    keep_freed_memory()
    with _terminable() as ended:
        _run(debug, ended)


@contextlib.contextmanager
def _terminable() -> Iterator[list[str]]:
    """Let SIGTERM unwind as an interrupt does, so that temporary files go; the list then says so."""
    ended: list[str] = []

    def end(*_: object) -> None:
        ended.append("terminated")
        raise KeyboardInterrupt

    def unraisable(lost: "sys.UnraisableHookArgs") -> None:
        if not isinstance(lost.exc_value, KeyboardInterrupt):
            former_hook(lost)
            return
        # Python drops an interrupt that comes inside a finaliser: it is sent again a moment later
        sign = signal.SIGTERM if ended else signal.SIGINT
        threading.Timer(0.05, os.kill, (os.getpid(), sign)).start()

    try:
        former = signal.signal(signal.SIGTERM, end)
    except ValueError:
        # only the main thread may listen
        yield ended
        return
    former_hook, sys.unraisablehook = sys.unraisablehook, unraisable
    try:
        yield ended
    finally:
        sys.unraisablehook = former_hook
        signal.signal(signal.SIGTERM, former)


def _run(debug: bool, ended: list[str]) -> None:
    try:
        sys.exit(app(standalone_mode=False) or 0)
    except _UsageError as error:
        _misused(error)
    except (SystemExit, KeyboardInterrupt) as stop:
        # typer turns an interrupt into a silent exit
        if ended or isinstance(stop, KeyboardInterrupt) or stop.code == 130:
            _interrupted(ended)
        raise
    except Exception as error:
        if _of_an_interrupt(error):
            _interrupted(ended)
        from purespike.errors import InputError

        if debug:
            raise
        if isinstance(error, InputError | OSError):
            fail(str(error), code=2)
        fail(f"{_mistake(error)}; --debug shows the traceback", code=1)


def _interrupted(ended: list[str]) -> NoReturn:
    if ended:
        fail("terminated; run the same command again to resume", code=143)
    fail("interrupted; run the same command again to resume", code=130)


def _of_an_interrupt(error: BaseException | None) -> bool:
    """Whether an interrupt caused an error: Python wraps one that comes while a class is made."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__
    return error is not None


def _mistake(error: Exception) -> str:
    """Kind and message of an error that nobody foresaw, and the line where code raised it or led to it.

    Code of installed packages is passed over: the user's own, or ours, called it.
    """
    places = traceback.extract_tb(error.__traceback__)
    ours = [place for place in places if "site-packages" not in Path(place.filename).parts] or places
    where = f"{ours[-1].filename}:{ours[-1].lineno}, in {ours[-1].name}"
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]} ({where})"


def _misused(error: Any) -> NoReturn:
    """One line for a command line that cannot be parsed; the help where nothing was given at all."""
    context: Any = getattr(error, "ctx", None)
    if type(error).__name__ == "NoArgsIsHelpError":
        print(context.get_help())
        sys.exit(2)
    message = str(getattr(error, "format_message", error.__str__)()).rstrip(".")
    fail(message if context is None else f"{message}; see {context.command_path} --help", code=2)
