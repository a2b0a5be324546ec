"""What the diagnostics of an evaluation found, and the verdict that follows."""

from collections.abc import Sequence
from dataclasses import dataclass
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


@dataclass(frozen=True, kw_only=True)
class Thresholds:
    """Tolerances of the diagnostics; fractions of images unless stated otherwise.

    Args:
        gain: fraction that a weaker attack may break beyond a stronger one; also that more steps, more
            starts or queries may break beyond the attack.
        significance: level of the tests that tell two attacks on the same images apart, and an informative
            gradient from a random one.
        spread: lag of the model's own surrogate behind the best of the sweep.
        zero_gradients: fraction without any gradient that is suspicious.
        masked: fraction without any gradient that makes the number unreliable.
        zero_pixels: fraction of an image's pixels whose gradient is exactly zero, mean over images.
        flat: median gradient norm at the images, relative to that at random points of their balls.
        window: fraction of a layer's membranes that must let a gradient pass.
        dead: fraction of a layer's neurons that never fire, or always.
        late_gain: fraction of the loss's whole rise that the last steps may contribute.
        unstable: fraction of the loss's whole rise that an average step may lose.
        planted: fraction of planted adversarial images that the attack must find.
        nondeterminism: largest difference of two logits that count as equal.
        large_eps: L∞ budget at which every image should be broken.
    """

    gain: float = 0.01
    significance: float = 0.05
    spread: float = 0.05
    zero_gradients: float = 0.05
    masked: float = 0.5
    zero_pixels: float = 0.5
    flat: float = 1e-3
    window: float = 0.01
    dead: float = 0.95
    late_gain: float = 0.05
    unstable: float = 0.1
    planted: float = 0.95
    nondeterminism: float = 1e-4
    large_eps: float = 0.5

    def allowed(self, count: int, share: float | None = None) -> float:
        """How many of ``count`` images a fraction, by default ``gain``, allows; at least one.

        On fewer than a hundred images a single one is more than a point, and may be chance.
        """
        return max((self.gain if share is None else share) * count, 1)


DEFAULT_THRESHOLDS = Thresholds()
