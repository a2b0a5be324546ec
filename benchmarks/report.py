"""Rows of a benchmark: printed, written as JSON, and put into the documentation."""

import importlib.metadata
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

from benchmarks.measure import Settings, quartiles
from purespike.environment import provenance
from purespike.errors import InputError
from purespike.files import write_text
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
    table = Table("ratio", "median", "quartiles", "asked", title=result.title)
    for row in result.rows:
        table.add_row(row.what, f"{row.ratio:.3g}", f"{row.low:.3g} to {row.high:.3g}", row.verdict)
    console.print(table)
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
        lines = [f"### {content['title']}", "", "| ratio | median (quartiles) | asked | difference |"]
        lines.append("|---|---|---|---|")
        for row in content["rows"]:
            verdict = f"**{row['verdict']}**" if row["verdict"] else ""
            value = f"{row['ratio']:.3g} ({row['low']:.3g} to {row['high']:.3g})"
            lines.append(f"| {row['what']} | {value} | {verdict} | {row['same']} |")
        notes = [f"- {row['what']}: {row['note']}" for row in content["rows"] if row["note"]]
        parts.append("\n".join(lines + (["", *notes] if notes else [])))
    if not parts:
        raise InputError(f"{folder}: no results of a benchmark; run python -m benchmarks --out {folder}")
    return "\n\n".join(parts)


def document(folder: Path, page: Path, names: Iterable[str]) -> None:
    """Put the tables of ``folder`` between the markers of ``page``."""
    text = fill(page.read_text(encoding="utf-8"), "measured", markdown(folder, names))
    write_text(page, text)
