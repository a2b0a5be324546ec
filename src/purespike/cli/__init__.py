"""The command line: parse, call, print. Heavy imports wait until a command runs."""

import sys

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
    try:
        app()
    except SystemExit as stop:
        # typer turns an interrupt into a silent exit
        if stop.code == 130:
            fail("interrupted; run the same command again to resume", code=130)
        raise
    except (ValueError, OSError) as error:
        from purespike.errors import InputError

        if debug or not isinstance(error, InputError | OSError):
            raise
        fail(str(error), code=2)
