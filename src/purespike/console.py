"""Output of commands: results to stdout, errors to stderr, one line each."""

import re
import sys
from typing import NoReturn

from rich.console import Console, RenderableType

# control characters but tab and line break, and those of bidirectional text that open or close a direction
_STEERING = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
_out = Console(highlight=False, soft_wrap=True)


def plain(text: str, instead: str = "") -> str:
    """``text`` without characters that steer a terminal or turn the direction of what follows."""
    return _STEERING.sub(instead, text)


def show(part: RenderableType) -> None:
    """Print a line or a table."""
    # on a pipe rich assumes 80 columns; a table that was made to fit reads better unwrapped
    _out.print(plain(part), markup=False) if isinstance(part, str) else Console(highlight=False).print(part)


def warn(message: str) -> None:
    """Print ``message`` as one line on stderr."""
    print(f"purespike: warning: {' '.join(message.split())}", file=sys.stderr)


def fail(message: str, *, code: int) -> NoReturn:
    """Print ``message`` as one line and exit with ``code``."""
    print(f"purespike: error: {plain(' '.join(message.split()))}", file=sys.stderr)
    sys.exit(code)
