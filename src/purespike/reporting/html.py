"""HTML from templates, with everything that comes from files escaped."""

from pathlib import Path

import jinja2

from purespike.console import plain
from purespike.results.vocabulary import THREATS, ThreatWords

_TEMPLATES = Path(__file__).parent / "templates"


def engine(*folders: Path) -> jinja2.Environment:
    """Templates of this package, and of other folders before them."""
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader([*folders, _TEMPLATES]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        # of the type that it was: marked-up text stays so
        finalize=lambda value: type(value)(plain(value)) if isinstance(value, str) else value,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals["unstyled_threats"] = _unstyled_threats
    return made


def _unstyled_threats() -> list[ThreatWords]:
    style = (_TEMPLATES / "report.css").read_text(encoding="utf-8")
    return [words for words in THREATS.values() if f".{words.name} {{" not in style]
