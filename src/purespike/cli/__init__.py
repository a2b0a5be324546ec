"""The command line: parse, call, print. Heavy imports wait until a command runs."""

import contextlib
import io
import signal
import sys
from collections.abc import Iterator
from typing import Any, NoReturn

import typer

from purespike.cli import runs

# isort: split
from purespike.cli import evaluations, reproduction
from purespike.cli.options import app
from purespike.console import fail

__all__ = ["app", "evaluations", "main", "reproduction", "runs"]


def main() -> None:
    """Entry point: errors a user can fix are one line and exit code 2, a traceback comes with --debug."""
    debug = "--debug" in sys.argv[1:]
    sys.argv[1:] = [argument for argument in sys.argv[1:] if argument != "--debug"]
    for stream in (sys.stdout, sys.stderr):
        # a name that the terminal cannot write costs no results
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    with _terminable() as ended:
        _run(debug, ended)


@contextlib.contextmanager
def _terminable() -> Iterator[list[str]]:
    """Let SIGTERM unwind as an interrupt does, so that temporary files go; the list then says so."""
    ended: list[str] = []

    def end(*_: object) -> None:
        ended.append("terminated")
        raise KeyboardInterrupt

    try:
        former = signal.signal(signal.SIGTERM, end)
    except ValueError:
        # only the main thread may listen
        yield ended
        return
    try:
        yield ended
    finally:
        signal.signal(signal.SIGTERM, former)


def _run(debug: bool, ended: list[str]) -> None:
    code = 0
    try:
        # its exit code, of an interrupt 130, is returned, and errors of usage are raised
        code = app(standalone_mode=False)
    except KeyboardInterrupt:
        code = 130
    except typer.TyperException as error:
        _misused(error)
    except (ValueError, OSError) as error:
        from purespike.errors import InputError

        if debug or not isinstance(error, InputError | OSError):
            raise
        fail(str(error), code=2)
    if ended:
        fail("terminated; run the same command again to resume", code=143)
    if code == 130:
        fail("interrupted; run the same command again to resume", code=130)
    sys.exit(code or 0)


def _misused(error: Any) -> NoReturn:
    """One line for a command line that cannot be parsed; the help where nothing was given at all."""
    context: Any = getattr(error, "ctx", None)
    if type(error).__name__ == "NoArgsIsHelpError":
        print(context.get_help())
        sys.exit(2)
    message = str(getattr(error, "format_message", error.__str__)()).rstrip(".")
    fail(message if context is None else f"{message}; see {context.command_path} --help", code=2)
