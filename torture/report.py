"""Figures of a part: printed, written as JSON, and put into the documentation."""

import json
import shlex
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console

from purespike.environment import provenance
from purespike.files import write_text
from purespike.reporting.grid import Cell, Grid, Group, Head
from purespike.reporting.grid import Row as GridRow
from purespike.reporting.markers import fill


@dataclass(frozen=True)
class Broken:
    """A promise that did not hold.

    Args:
        case: name by which ``--case`` repeats it.
        promise: the promise.
        said: what happened instead.
    """

    case: str
    promise: str
    said: str


@dataclass
class Row:
    """One line of the figures.

    Args:
        what: what was tried.
        tried: how often.
        broken: how often a promise did not hold.
        note: figures beside these.
    """

    what: str
    tried: int = 0
    broken: int = 0
    note: str = ""


@dataclass
class Figures:
    """What a part found; ``skipped`` says in a line each what could not be tried."""

    title: str
    rows: list[Row] = field(default_factory=list)
    broken: list[Broken] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)


def finished(path: Path, settings: Any) -> bool:
    """Whether the part at ``path`` was done by this very commit, with the same settings, and held."""
    if not path.exists():
        return False
    content, now = written(path), provenance(seed=settings.seed)
    origin = content["provenance"]
    same = content["settings"] == asdict(settings) and origin["commit"] == now["commit"]
    return bool(same and not now["dirty"] and not origin["dirty"] and not content["broken"])


def written(path: Path) -> Any:
    """The content of a part's file."""
    return json.loads(path.read_text(encoding="utf-8"))


def publish(figures: Figures, part: str, settings: Any, seconds: float) -> dict[str, Any]:
    """The content of the file of a part."""
    return {
        "part": part,
        **asdict(figures),
        "settings": asdict(settings),
        "seconds": round(seconds, 1),
        "provenance": provenance(seed=settings.seed),
    }


def show(part: str, content: dict[str, Any]) -> bool:
    """Print the figures of a part; whether every promise held."""
    console = Console(highlight=False)
    console.print(_grid(content).console())
    for line in content["skipped"]:
        console.print(f"skipped: {line}", soft_wrap=True, markup=False)
    for each in content["broken"]:
        text = f"BROKEN {each['case']}: {each['promise']}: {each['said']}"
        console.print(text, soft_wrap=True, markup=False)
        line = f"  repeat it: python -m torture --only {part} --case {shlex.quote(each['case'])}"
        console.print(line, soft_wrap=True, markup=False)
    console.print(f"{part}: {content['seconds']:.0f} s\n")
    return not content["broken"]


def markdown(folder: Path, names: Iterable[str]) -> str:
    """The tables of the parts in ``folder``; a line where there are none."""
    parts = []
    for path in (folder / f"{name}.json" for name in names):
        if path.exists():
            content = written(path)
            parts.append(_grid(content).markdown("### {}"))
            parts += [f"- {line}\n" for line in content["skipped"]]
    return "\n".join(parts).rstrip() or "*Not measured yet: `make torture`.*"


def document(folder: Path, page: Path, names: Iterable[str]) -> None:
    """Put the tables of ``folder`` between the markers of ``page``."""
    write_text(page, fill(page.read_text(encoding="utf-8"), "measured", markdown(folder, names)))


def _grid(content: dict[str, Any]) -> Grid:
    rows = [
        GridRow(
            row["what"],
            [
                f"{row['tried']:,}",
                Cell(f"{row['broken']:,}", style="bold" if row["broken"] else ""),
                row["note"],
            ],
        )
        for row in content["rows"]
    ]
    heads = [Head(""), Head("tried"), Head("promises broken"), Head("")]
    return Grid(content["title"], heads, [Group("", rows)], align="lrrl", readable=True)
