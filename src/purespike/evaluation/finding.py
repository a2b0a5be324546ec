"""One thing a diagnostic saw, and the limits beyond which it is held against a number."""

from dataclasses import asdict, dataclass
from typing import Any

LEVELS = ("reliable", "suspicious", "unreliable")


@dataclass(frozen=True)
class Finding:
    """What one diagnostic saw.

    Args:
        name: of the diagnostic.
        group: ``"invariants"``, ``"gradients"``, ``"optimisation"`` or ``"defence"``.
        level: what it means for the numbers: ``"reliable"``, ``"suspicious"`` or ``"unreliable"``.
        seen: in a sentence, with the figures.
        advice: what to do about it; dropped where nothing is wrong.
        source: who taught the field to look here.
    """

    name: str
    group: str
    level: str
    seen: str
    advice: str
    source: str

    def __post_init__(self) -> None:
        if self.level == LEVELS[0]:
            object.__setattr__(self, "advice", "")

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What is still accepted; shares are of images, in [0, 1].

    Args:
        gain: what a weaker attack may find that a stronger one missed, and what more steps, more starts or
            queries may find beyond the attack.
        spread: how far the model's own surrogate may lie above the best of the sweep.
        zero_gradients: share of images without any gradient that is suspicious.
        masked: share of images without any gradient that makes the number unreliable.
        nondeterminism: largest difference of two logits that count as equal.
        large_eps: budget at which every image should fall.
    """

    gain: float = 0.01
    spread: float = 0.05
    zero_gradients: float = 0.05
    masked: float = 0.5
    nondeterminism: float = 1e-4
    large_eps: float = 0.5


DEFAULT_LIMITS = Limits()
