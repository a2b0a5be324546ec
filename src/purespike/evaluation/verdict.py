"""Whether a number can be trusted: the worst of what the diagnostics saw."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from purespike.evaluation.finding import LEVELS, Finding


@dataclass(frozen=True)
class Verdict:
    """``level`` is ``"reliable"``, ``"suspicious"`` or ``"unreliable"``; ``reasons`` say why not the first.

    Reliable means that none of the diagnostics objected, not that no stronger attack exists.
    """

    level: str
    reasons: tuple[str, ...] = ()

    def __str__(self) -> str:
        reasons = f" ({'; '.join(self.reasons)})" if self.reasons else ""
        return f"VERDICT: {self.level}{reasons}"

    def to_json(self) -> dict[str, Any]:
        return {"level": self.level, "reasons": list(self.reasons)}


def judge(findings: Sequence[Finding]) -> Verdict:
    """The worst level among ``findings``, with the reasons of all that object, the gravest first."""
    objections = [finding for finding in findings if finding.level != LEVELS[0]]
    objections.sort(key=lambda finding: -LEVELS.index(finding.level))
    level = objections[0].level if objections else LEVELS[0]
    return Verdict(level, tuple(f"{finding.name}: {finding.seen}" for finding in objections))
