"""Joint detection: only images that look attacked are purified (arXiv 2404.17092 v2)."""

import math
from typing import Any

from torch import Tensor, nn

from purespike.errors import InputError
from purespike.models import Defended
from purespike.rejection.registry import Score
from purespike.rejection.seen import Seen
from purespike.rejection.threshold import calibrated
from purespike.scalars import parse_number


class Gated(Defended):
    """A purifier and a classifier with a gate between: images whose score exceeds a threshold are purified.

    All others reach the classifier as they are, so that clean accuracy is that of the classifier, but for
    the flagged. Images ``[N, C, H, W]`` in [0, 1] to logits ``[N, K]``. A gate is one more thing to deceive:
    an attacker may stay just below the threshold and meet the classifier alone, or go above it.

    Args:
        purifier: images to ``Purified``; any module whose result has ``.images``, or is a tensor of images.
        classifier: images to logits; any module. It is not changed.
        score: name of a score, with settings after colons; by default the L∞ norm of the estimated noise.
        threshold: score above which an image is purified; ``None`` until :meth:`calibrate`.
        reference: mean over clean images of what the score learns, set by :meth:`calibrate`.

    Raises:
        InputError: an unknown score or setting; on a call, no threshold.
    """

    def __init__(
        self,
        purifier: nn.Module,
        classifier: nn.Module,
        score: str = "noise_max",
        threshold: float | None = None,
        *,
        reference: tuple[float, ...] | None = None,
    ) -> None:
        super().__init__(purifier, classifier)
        self.score = Score(score)
        self.threshold = None if threshold is None else check_threshold(threshold)
        self.reference = None if reference is None else tuple(reference)

    @property
    def gate(self) -> dict[str, Any]:
        """Score, threshold and reference, as plain values."""
        return gate_config(self)

    @property
    def config(self) -> dict[str, Any]:
        """Settings that build the model again; ``None`` in place of a part that is not ours."""
        return {**super().config, "architecture": "gated", **self.gate}

    def scores(self, images: Tensor) -> Tensor:
        """Score of each image, ``[N]``."""
        return self.score(Seen(self.ungated, images), self.reference)

    @property
    def ungated(self) -> Defended:
        """The same purifier and classifier without the gate."""
        return Defended(self.purifier, self.classifier)

    def flagged(self, images: Tensor) -> Tensor:
        """Whether each image is purified, bool ``[N]``."""
        return self.scores(images) > threshold_of(self)

    def purify(self, images: Tensor) -> Tensor:
        """The images that the classifier receives, ``[N, C, H, W]``: purified where flagged."""
        seen = Seen(self.ungated, images)
        flagged = self.score(seen, self.reference) > threshold_of(self)
        return seen.purified.where(flagged[:, None, None, None], images.to(seen.purified.dtype))

    def calibrate(self, images: Tensor, coverage: float = 0.95, *, batch_size: int = 128) -> float:
        """Choose the threshold so that a share ``coverage`` of clean images stays unpurified; return it.

        Raises:
            InputError: see :func:`~purespike.rejection.threshold.choose_threshold`.
        """
        self.threshold, self.reference = calibrated(self.ungated, self.score, images, coverage, batch_size)
        return self.threshold

    def extra_repr(self) -> str:
        return gate_repr(self)


def check_threshold(threshold: float) -> float:
    """``threshold`` as a number.

    Raises:
        InputError: it is none, or not finite: nothing, or everything, would pass.
    """
    number = parse_number(threshold, name="threshold")
    if not math.isfinite(number):
        raise InputError(f"threshold: must be finite, got {number}")
    return number


def threshold_of(model: Any) -> float:
    """The threshold of a gate.

    Raises:
        InputError: it has none yet.
    """
    if model.threshold is None:
        raise InputError(
            f"{type(model).__name__}: has no threshold yet; give one, or call "
            "calibrate(clean images, coverage=0.95) first"
        )
    return float(model.threshold)


def gate_config(model: Any) -> dict[str, Any]:
    """Score, threshold and reference of a gate, as plain values."""
    known = {"score": model.score.text, "threshold": model.threshold}
    return known if model.reference is None else {**known, "reference": list(model.reference)}


def gate_repr(model: Any) -> str:
    return f"score={model.score.text!r}, threshold={model.threshold}"
