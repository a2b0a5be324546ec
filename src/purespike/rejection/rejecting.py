"""A model that may refuse to answer."""

from typing import Any, NamedTuple

from torch import Tensor, nn

from purespike.models import Defended
from purespike.models.adapters import as_module
from purespike.rejection.gated import check_threshold, gate_config, gate_repr, threshold_of
from purespike.rejection.registry import Score
from purespike.rejection.seen import Seen
from purespike.rejection.threshold import calibrated


class Decision(NamedTuple):
    """Logits ``[N, K]``, whether each image is accepted, bool ``[N]``, and its score ``[N]``."""

    logits: Tensor
    accept: Tensor
    scores: Tensor


class Rejecting(nn.Module):
    """A model that accepts an image if its score is at most a threshold; called, it returns the logits.

    ``rejecting(images)`` is ``model(images)``; :meth:`accept` and :meth:`decide` say which of these answers
    count. As any module it decides in the mode it is in: call ``.eval()`` first.

    Args:
        model: images to logits; a ``Defended`` for scores that look at its purifier.
        score: name of a score, with settings after colons, e.g. ``"prediction_change:eps=4/255:steps=5"``.
        threshold: largest score that is accepted; ``None`` until :meth:`calibrate`.
        reference: mean over clean images of what the score learns, set by :meth:`calibrate`.

    Raises:
        InputError: an unknown score or setting, or one that needs a purifier before a bare classifier; on a
            decision, no threshold.
    """

    def __init__(
        self,
        model: nn.Module,
        score: str,
        threshold: float | None = None,
        *,
        reference: tuple[float, ...] | None = None,
    ) -> None:
        super().__init__()
        self.model = as_module(model)
        self.score = Score(score)
        self.score.check(self.model)
        self.threshold = None if threshold is None else check_threshold(threshold)
        self.reference = None if reference is None else tuple(reference)

    @property
    def config(self) -> dict[str, Any]:
        """Settings that build the model again; ``None`` in place of a part that is not ours."""
        part = getattr(self.model, "config", None)
        return {"architecture": "rejecting", "model": part, **gate_config(self)}

    @property
    def classifier(self) -> nn.Module:
        """The classifier alone, images to logits."""
        return self.model.classifier if isinstance(self.model, Defended) else self.model

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.model(images)
        return logits

    def scores(self, images: Tensor) -> Tensor:
        """Score of each image, ``[N]``."""
        return self.score(Seen(self.model, images), self.reference)

    def accept(self, images: Tensor) -> Tensor:
        """Whether each image is accepted, bool ``[N]``."""
        return self.scores(images) <= threshold_of(self)

    def decide(self, images: Tensor) -> Decision:
        """Logits, acceptance and score of each image; the work that these share is done once."""
        seen = Seen(self.model, images)
        threshold, scores = threshold_of(self), self.score(seen, self.reference)
        return Decision(seen.logits, scores <= threshold, scores)

    def calibrate(self, images: Tensor, coverage: float = 0.95, *, batch_size: int = 128) -> float:
        """Choose the threshold so that a share ``coverage`` of clean images is accepted; return it.

        Args:
            images: clean images, ``[N, C, H, W]``, uint8 or floats in [0, 1]; better not those of a test.
            coverage: share of them to accept, in (0, 1].
            batch_size: images per forward.

        Raises:
            InputError: see :func:`~purespike.rejection.threshold.choose_threshold`.
        """
        self.threshold, self.reference = calibrated(self.model, self.score, images, coverage, batch_size)
        return self.threshold

    def extra_repr(self) -> str:
        return gate_repr(self)
