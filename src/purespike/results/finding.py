"""What the diagnostics of an evaluation found, and the verdict that follows."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationInfo, field_validator

from purespike.results.record import Record

Level = Literal["reliable", "suspicious", "unreliable"]
LEVELS: tuple[Level, ...] = ("reliable", "suspicious", "unreliable")


class Finding(Record):
    """A diagnostic finding.

    Args:
        name: name of the diagnostic.
        group: ``"invariants"``, ``"gradients"``, ``"optimisation"`` or ``"defence"``.
        level: severity for the numbers of the evaluation.
        message: observation in a sentence, with the figures; ``seen`` in files.
        advice: remedy in words; dropped where nothing is wrong.
        source: paper that teaches this diagnostic.
        remedy: settings of the examined attack that would fix it, e.g. ``{"steps": 40}``, if any; dropped
            where nothing is wrong.
    """

    name: str
    group: str
    level: Level
    message: Annotated[str, Field(alias="seen")]
    advice: str
    source: str
    remedy: dict[str, Any] | None = None

    @field_validator("advice", "remedy")
    @classmethod
    def _only_where_wrong(cls, value: Any, info: ValidationInfo) -> Any:
        if info.data.get("level") == LEVELS[0]:
            return "" if info.field_name == "advice" else None
        return value


class Verdict(Record):
    """Whether numbers can be trusted, with the reasons why not.

    Reliable means that none of the diagnostics objected, not that no stronger attack exists.
    """

    level: Level
    reasons: tuple[str, ...] = ()

    @classmethod
    def of(cls, findings: Sequence[Finding]) -> Self:
        """The worst level among ``findings``, with the reasons of all that object, the gravest first."""
        objections = [finding for finding in findings if finding.level != LEVELS[0]]
        objections.sort(key=lambda finding: -LEVELS.index(finding.level))
        level = objections[0].level if objections else LEVELS[0]
        return cls(level=level, reasons=tuple(f"{finding.name}: {finding.message}" for finding in objections))

    def __str__(self) -> str:
        reasons = f" ({'; '.join(self.reasons)})" if self.reasons else ""
        return f"VERDICT: {self.level}{reasons}"
