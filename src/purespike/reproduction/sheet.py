"""A table of ours and of printed figures, as plain JSON values."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

# who attacks: the threat model with a purifier, and without
ATTACKERS: dict[str, tuple[str | None, str | None]] = {
    "alone": ("oblivious", "undefended"),
    "adaptive": ("adaptive", "adaptive"),
    "bpda": ("bpda", None),
    "transfer": ("transfer", "transfer"),
    "": (None, None),
}
ORIGINS = ("measured", "paper", "quoted", "missing")


@dataclass(frozen=True)
class Column:
    """One column: an attack, who attacks (a key of :data:`ATTACKERS`), and the unit of its numbers."""

    title: str
    attacker: str = ""
    unit: str = "%"

    @property
    def key(self) -> str:
        return f"{self.title}|{self.attacker}"


@dataclass(frozen=True)
class Cell:
    """A number per seed, shares in [0, 1] where the unit is %; printed ones have no count and interval."""

    values: tuple[float, ...]
    threat: str | None = None
    n: int | None = None
    low: float | None = None
    high: float | None = None

    def to_json(self) -> dict[str, Any]:
        deviation = statistics.stdev(self.values) if len(self.values) > 1 else None
        return {**asdict(self), "mean": statistics.fmean(self.values), "deviation": deviation}


@dataclass
class Sheet:
    """What an experiment found; rows are appended in the order in which they are read.

    Args:
        name: of the experiment, e.g. ``"table2"``.
        title: what is measured.
        columns: in order.
        kind: of its figure: ``"dots"``, ``"curves"`` or ``"bars"``.
        notes: what a reader must know.
    """

    name: str
    title: str
    columns: Sequence[Column]
    kind: str = "dots"
    notes: list[str] = field(default_factory=list)
    rows: list[dict[str, Any]] = field(default_factory=list)

    def add(self, group: str, method: str, cells: Mapping[str, Cell], origin: str = "measured") -> None:
        """Append a row; columns without a cell are empty."""
        assert origin in ORIGINS
        unknown = set(cells) - {column.key for column in self.columns}
        assert not unknown, unknown
        content = {key: cell.to_json() for key, cell in cells.items()}
        self.rows.append({"group": group, "method": method, "origin": origin, "cells": content})

    def printed(
        self, group: str, method: str, values: Mapping[str, float | None], origin: str = "paper"
    ) -> None:
        """Append a row of printed figures, in % where the column's unit is %, by the key of the column."""
        units = {column.key: column.unit for column in self.columns}
        scaled = {
            key: value / 100 if units[key] == "%" else value
            for key, value in values.items()
            if value is not None
        }
        self.add(group, method, {key: Cell((value,)) for key, value in scaled.items()}, origin)

    def missing(self, group: str, method: str, reason: str) -> None:
        """Append a row that could not be measured."""
        self.rows.append(
            {"group": group, "method": method, "origin": "missing", "reason": reason, "cells": {}}
        )

    def to_json(self) -> dict[str, Any]:
        """The content of ``result.json``, without its origin."""
        columns = [{**asdict(column), "key": column.key} for column in self.columns]
        return {
            "schema": 1,
            "experiment": self.name,
            "title": self.title,
            "kind": self.kind,
            "columns": columns,
            "rows": self.rows,
            "notes": self.notes,
        }
