"""Cases of a part, each repeatable by its name, two at a time."""

import random
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from purespike.progress import bar
from torture.report import Broken, Figures, Row
from torture.scenes import Desk

JOBS = 2


@dataclass(frozen=True)
class Settings:
    """What the cases of a run depend on.

    Args:
        seed: seed of every random choice.
        scale: ``"full"``, or ``"small"`` for the sample that the tests run.
    """

    seed: int
    scale: str

    @property
    def full(self) -> bool:
        """Whether this is no sample."""
        return self.scale == "full"


@dataclass
class Outcome:
    """The end of one case.

    Args:
        faults: promises that did not hold, each with what happened instead.
        tried: attempts that this case counts as, such as kills that hit.
        figures: figures that a row adds up; those called ``most …`` are compared.
        skipped: reason why nothing was tried.
    """

    faults: list[tuple[str, str]] = field(default_factory=list)
    tried: int = 1
    figures: dict[str, float] = field(default_factory=dict)
    skipped: str = ""


@dataclass(frozen=True)
class Case:
    """One thing that is tried.

    Args:
        name: name, by which it can be repeated.
        row: line of the figures that counts it.
        attempt: function that tries it, with random numbers of its own.
    """

    name: str
    row: str
    attempt: Callable[[Desk, random.Random], Outcome]


def work(title: str, cases: Iterable[Case], desk: Desk, settings: Settings, only: str = "") -> Figures:
    """The figures of all cases, or of those whose names begin with ``only``."""
    chosen = [case for case in cases if case.name.startswith(only)]

    def attempt(case: Case) -> Outcome:
        return case.attempt(desk, random.Random(f"{settings.seed}/{case.name}"))

    figures = Figures(title)
    rows: dict[str, Row] = {}
    sums: dict[str, dict[str, float]] = {}
    with bar(title, len(chosen), unit="cases") as shown, ThreadPoolExecutor(JOBS) as pool:
        for case, outcome in zip(chosen, pool.map(attempt, chosen), strict=True):
            shown.advance(1, case.name)
            row = rows.setdefault(case.row, Row(case.row))
            if outcome.skipped:
                figures.skipped.append(f"{case.name}: {outcome.skipped}")
                continue
            row.tried += outcome.tried
            row.broken += len({promise for promise, _ in outcome.faults})
            found = [Broken(case.name, *fault) for fault in outcome.faults]
            figures.broken += found
            for each in found:
                shown.say(f"BROKEN {each.case}: {each.promise}: {each.said}")
            merged = sums.setdefault(case.row, {})
            for name, value in outcome.figures.items():
                join = max if name.startswith("most ") else lambda a, b: a + b
                merged[name] = join(merged[name], value) if name in merged else value
    for name, row in rows.items():
        row.note = ", ".join(f"{value:,.4g} {key}" for key, value in sums.get(name, {}).items())
    figures.rows = list(rows.values())
    return figures


def tail(text: str, limit: int = 600) -> str:
    """The end of a text on one line."""
    line = " ⏎ ".join(text.split("\n")).strip()
    return line if len(line) <= limit else f"… {line[-limit:]}"


def leftovers(folder: Path) -> list[str]:
    """Temporary files below a folder."""
    return [path.name for path in folder.rglob(".*.part")]
