"""Rows of a benchmark: printed, written as JSON, and put into the documentation."""

import importlib.metadata
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from rich.console import Console

from benchmarks.measure import Settings, quartiles
from purespike.environment import provenance
from purespike.errors import InputError
from purespike.files import write_text
from purespike.reporting.grid import Cell, Grid, Group, Head
from purespike.reporting.grid import Row as GridRow
from purespike.reporting.markers import fill

PEERS = ("spikingjelly", "snntorch", "foolbox", "pyautoattack")


@dataclass(frozen=True)
class Row:
    """One measured ratio.

    Args:
        what: the two sides, ``"A ÷ B"``.
        ratio: its median over rounds.
        low: lower quartile.
        high: upper quartile.
        bound: what it must not exceed; ``None`` where nothing is asked.
        same: how it was checked that both sides compute the same, and the difference found.
        note: what else the reader must know.
    """

    what: str
    ratio: float
    low: float
    high: float
    bound: float | None = None
    same: str = ""
    note: str = ""

    @property
    def verdict(self) -> str:
        if self.bound is None:
            return ""
        return f"≤ {self.bound:g} {'met' if self.ratio <= self.bound else 'MISSED'}"


def timed(what: str, seconds: Mapping[str, list[float]], above: str, below: str, **more: Any) -> Row:
    """The row of two sides that were timed together."""
    low, middle, high = quartiles(seconds[above], seconds[below])
    return Row(what, middle, low, high, **more)


def counted(what: str, value: float, **more: Any) -> Row:
    """The row of a value that is no time, and the same in every round."""
    return Row(what, value, value, value, **more)


@dataclass
class Result:
    """What one benchmark found; ``skipped`` says in a line each what could not be measured."""

    title: str
    rows: list[Row] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    extra: dict[str, Any] = field(default_factory=dict)
    figures: dict[str, Figure] = field(default_factory=dict)


def publish(name: str, result: Result, settings: Settings) -> dict[str, Any]:
    """Print the table, and return what goes into the JSON file."""
    console = Console(highlight=False)
    console.print(_grid(result.title, result.rows).console())
    for row in result.rows:
        for line in filter(None, (row.same, row.note)):
            console.print(f"{row.what}: {line}", soft_wrap=True)
    for line in result.skipped:
        console.print(f"skipped: {line}", soft_wrap=True)
    origin = provenance(seed=0, device=settings.device)
    for peer in PEERS:
        try:
            origin["versions"][peer] = importlib.metadata.version(peer)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {
        "benchmark": name,
        "title": result.title,
        "rows": [{**asdict(row), "verdict": row.verdict} for row in result.rows],
        "skipped": result.skipped,
        "extra": result.extra,
        "settings": asdict(settings),
        "provenance": origin,
    }


def markdown(folder: Path, names: Iterable[str]) -> str:
    """The tables of the JSON files in ``folder``.

    Raises:
        InputError: there are none.
    """
    parts = []
    for name in names:
        path = folder / f"{name}.json"
        if not path.exists():
            continue
        content = json.loads(path.read_text(encoding="utf-8"))
        rows = [Row(**{one.name: row[one.name] for one in fields(Row)}) for row in content["rows"]]
        parts.append(_grid(content["title"], rows, difference=True).markdown("### {}"))
        notes = [f"- {row.what}: {row.note}\n" for row in rows if row.note]
        parts += ["".join(notes)] if notes else []
    if not parts:
        raise InputError(f"{folder}: no results of a benchmark; run python -m benchmarks --out {folder}")
    return "\n".join(parts).rstrip()


def _grid(title: str, rows: Iterable[Row], *, difference: bool = False) -> Grid:
    heads = [Head("ratio"), Head("median", "quartiles"), Head("asked"), Head("difference")]
    lines = []
    for row in rows:
        value = Cell(f"{row.ratio:.3g}", (f"({row.low:.3g} to {row.high:.3g})",))
        cells: list[Cell | str] = [value, Cell(row.verdict, style="bold"), row.same]
        lines.append(GridRow(row.what, cells if difference else cells[:2]))
    return Grid(
        title,
        heads if difference else heads[:3],
        [Group("", lines)],
        align="lrll"[: 3 + difference],
        readable=True,
    )


def document(folder: Path, page: Path, names: Iterable[str]) -> None:
    """Put the tables of ``folder`` between the markers of ``page``."""
    text = fill(page.read_text(encoding="utf-8"), "measured", markdown(folder, names))
    write_text(page, text)
