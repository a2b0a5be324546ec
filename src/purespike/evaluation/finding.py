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
        remedy: settings of the examined attack that would mend it, e.g. ``{"steps": 40}``, where some would;
            dropped where nothing is wrong.
    """

    name: str
    group: str
    level: str
    seen: str
    advice: str
    source: str
    remedy: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        if self.level == LEVELS[0]:
            object.__setattr__(self, "advice", "")
            object.__setattr__(self, "remedy", None)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What is still accepted; shares are in [0, 1], of images unless it is said of what.

    Args:
        gain: what a weaker attack may find that a stronger one missed, and what more steps, more starts or
            queries may find beyond the attack.
        significance: chance with which two attacks of equal strength, met by the same images, may be taken
            for unequal; and a gradient that says nothing for one that says something.
        spread: how far the model's own surrogate may lie behind the best of the sweep.
        zero_gradients: share of images without any gradient that is suspicious.
        masked: share of images without any gradient that makes the number unreliable.
        zero_pixels: share of an image's pixels whose gradient is exactly zero, on average over images.
        flat: median gradient norm at the images, relative to that at random points of their balls.
        window: least share of a layer's membranes that must let a gradient pass.
        dead: share of a layer's neurons that never fire, or always.
        moved: share of the whole rise of the loss that the last steps may have made.
        unstable: share of the whole rise of the loss that is lost in an average step.
        planted: share of planted adversarial images that the attack must find.
        nondeterminism: largest difference of two logits that count as equal.
        large_eps: budget, in L∞, at which every image should fall.
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
    moved: float = 0.05
    unstable: float = 0.1
    planted: float = 0.95
    nondeterminism: float = 1e-4
    large_eps: float = 0.5

    def allowed(self, count: int, share: float | None = None) -> float:
        """How many of ``count`` images a share, by default ``gain``, allows: one in any case.

        On fewer than a hundred images a single one is more than a point, and may be chance.
        """
        return max((self.gain if share is None else share) * count, 1)


DEFAULT_LIMITS = Limits()
