"""Output of commands: results to stdout, errors to stderr, one line each."""

import sys
from typing import NoReturn

from rich.console import Console, RenderableType

_out = Console(highlight=False, soft_wrap=True)


def show(part: RenderableType) -> None:
    """Print a line or a table."""
    # on a pipe rich assumes 80 columns; a table that was made to fit reads better unwrapped
    _out.print(part, markup=False) if isinstance(part, str) else Console(highlight=False).print(part)


def warn(message: str) -> None:
    """Print ``message`` as one line on stderr."""
    print(f"purespike: warning: {' '.join(message.split())}", file=sys.stderr)


def fail(message: str, *, code: int) -> NoReturn:
    """Print ``message`` as one line and exit with ``code``."""
    print(f"purespike: error: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(code)
