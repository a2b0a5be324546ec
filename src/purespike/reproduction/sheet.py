"""The table of an experiment, our numbers beside the paper's: the content of ``result.json``."""

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BeforeValidator, Field, PlainSerializer, model_validator

from purespike.reproduction.attackers import ATTACKERS
from purespike.results import Provenance, Record
from purespike.results.record import Count, Number

Origin = Literal["measured", "paper", "quoted", "missing", "failed"]
Kind = Literal["dots", "curves", "bars", "pictures", "gap"]


@dataclass(frozen=True)
class Column:
    """An attack and its attacker; columns are the keys of the cells of a row.

    Args:
        title: title of the attack, or of the measure.
        attacker: key of :data:`~purespike.reproduction.attackers.ATTACKERS`; ``""`` for none.
        unit: unit of the numbers, no part of the column's identity.
    """

    title: str
    attacker: str = ""
    unit: str = field(default="%", compare=False)

    @property
    def key(self) -> str:
        """The column as a key of JSON: ``"PGD|alone"``."""
        return f"{self.title}|{self.attacker}"

    @property
    def note(self) -> str:
        """Text under the title: the attacker, or the unit where it is no share; may be empty."""
        if self.unit not in ("%", "count", ""):
            return self.unit
        return ATTACKERS[self.attacker].label if self.attacker else ""


def _from_key(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    title, bar, attacker = value.rpartition("|")
    if not bar:
        raise ValueError("expected TITLE|ATTACKER")
    return Column(title, attacker)


_ColumnKey = Annotated[Column, BeforeValidator(_from_key), PlainSerializer(lambda column: column.key)]
_ColumnField = Annotated[Column, PlainSerializer(lambda column: {**asdict(column), "key": column.key})]


class SheetCell(Record):
    """A number per seed, a share in [0, 1] where the unit is %; a printed one has neither count nor interval.

    Args:
        values: one number per seed.
        threat: threat model; ``"noise"`` for random noise, ``None`` for clean images and other measures.
        n: number of images.
        low: lower end of the interval of a single seed.
        high: upper end.
        mean: mean over seeds.
        deviation: standard deviation over seeds, of at least two.
    """

    values: tuple[Count | Number, ...]
    threat: str | None
    n: Count | None
    low: Number | None
    high: Number | None
    mean: Number
    deviation: Number | None

    @classmethod
    def of(
        cls,
        values: Sequence[float],
        *,
        threat: str | None = None,
        n: int | None = None,
        interval: tuple[float, float] | None = None,
    ) -> Self:
        """The cell of ``values``, one per seed."""
        low, high = interval or (None, None)
        deviation = statistics.stdev(values) if len(values) > 1 else None
        mean = statistics.fmean(values)
        return cls(
            values=tuple(values), threat=threat, n=n, low=low, high=high, mean=mean, deviation=deviation
        )


NOT_ASKED = "not among the rows that were asked for"
"""Why a row is missing that somebody left out."""


class SheetRow(Record):
    """One method on one data set.

    Args:
        group: title of the data set, or of the part of the table.
        method: name of the method.
        origin: source of the numbers: measured here, printed in the paper, quoted there, missing, or failed.
        reason: reason why a missing row was not measured, or why one failed.
        remark: what else there is to say of the row.
        commit: commit at which it was measured, where it was kept by itself.
        decided_by: digest of the settings that decided it, where it was kept by itself.
        cells: numbers by column; a column without one is empty.
    """

    group: str
    method: str
    origin: Origin
    reason: str = ""
    remark: str = ""
    commit: str = ""
    decided_by: str = ""
    cells: dict[_ColumnKey, SheetCell]

    @property
    def unavailable(self) -> bool:
        """Whether it is missing because its data are."""
        return self.origin == "missing" and self.reason != NOT_ASKED

    @property
    def printed(self) -> bool:
        """Whether the numbers are from print."""
        return self.origin in ("paper", "quoted")


class SheetScale(Record):
    """The scale of a measurement; see :class:`~purespike.reproduction.scale.Scale`."""

    name: str = ""
    about: str
    images: Count
    attacked: str = "test images"


class Sheet(Record):
    """What an experiment found, with its origin.

    Args:
        experiment: name of the experiment, e.g. ``"table2"``.
        title: title of the table.
        kind: kind of the figure.
        columns: columns in order.
        rows: rows in order, those of a group together.
        notes: sentences below the table.
        scale: scale of the measurement.
        seeds: seeds over which everything was repeated.
        provenance: origin.
    """

    if_unreadable: ClassVar[str] = "run the experiment again"

    schema_version: Literal[1] = Field(alias="schema")
    experiment: str
    title: str
    kind: Kind
    columns: tuple[_ColumnField, ...]
    rows: tuple[SheetRow, ...]
    notes: tuple[str, ...]
    scale: SheetScale
    seeds: tuple[Count, ...]
    provenance: Provenance

    @model_validator(mode="after")
    def _columns_are_known(self) -> Self:
        for column in self.columns:
            if column.attacker not in ATTACKERS:
                raise ValueError(f"columns: unknown attacker {column.attacker!r}")
        for row in self.rows:
            for column in row.cells:
                if column not in self.columns:
                    raise ValueError(f"rows: {row.method} has a cell {column.key!r}, which is no column")
        return self

    @property
    def groups(self) -> dict[str, list[SheetRow]]:
        """The rows by their group, both in order."""
        groups: dict[str, list[SheetRow]] = {}
        for row in self.rows:
            groups.setdefault(row.group, []).append(row)
        return groups
