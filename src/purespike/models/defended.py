"""A purifier in front of a classifier."""

from typing import Any

from torch import Tensor, nn

from purespike.checks import cast_for
from purespike.errors import InputError, kind_of
from purespike.models.purifier import Purifier
from purespike.models.vote import vote


class Defended(nn.Module):
    """Images ``[N, C, H, W]`` in [0, 1] to logits ``[N, K]``, through a purifier and then a classifier.

    Each part gets its images in the type of its parameters. A purifier that draws may ask for several passes,
    whose answers are put together (:func:`~purespike.models.vote.vote`).

    Args:
        purifier: images to ``Purified``; any module whose result has ``.images``, or is a tensor of images.
        classifier: images to logits; any module. It is not changed.

    Raises:
        InputError: one of them is no module.
    """

    def __init__(self, purifier: nn.Module, classifier: nn.Module) -> None:
        super().__init__()
        for role, part in (("purifier", purifier), ("classifier", classifier)):
            if not isinstance(part, nn.Module):
                raise InputError(f"{role}: an nn.Module is needed, got {kind_of(part)}")
        self.purifier = purifier
        self.classifier = classifier

    @property
    def config(self) -> dict[str, Any]:
        """Settings that build both parts again; ``None`` for a part that is not ours."""
        parts = {"purifier": self.purifier, "classifier": self.classifier}
        return {
            "architecture": "defended",
            **{name: getattr(part, "config", None) for name, part in parts.items()},
        }

    def purify(self, images: Tensor) -> Tensor:
        """The purified images alone, ``[N, C, H, W]``, not clipped."""
        purified = self.purifier(cast_for(self.purifier, images))
        return purified if isinstance(purified, Tensor) else purified.images

    @property
    def by_parts(self) -> bool:
        """Whether its answer is that of the classifier on :meth:`purify`: no vote, no forward of its own."""
        voting = isinstance(self.purifier, Purifier) and self.purifier.passes > 1
        changed = "forward" in vars(self) or self._forward_hooks or self._forward_pre_hooks
        return type(self).forward is Defended.forward and not voting and not changed

    def forward(self, images: Tensor) -> Tensor:
        if not isinstance(self.purifier, Purifier) or self.purifier.passes == 1:
            return self.classify(self.purify(images))
        passes, how = self.purifier.passes, self.purifier.vote
        logits = self.classify(self.purify(images.repeat(passes, 1, 1, 1)))
        return vote(logits.unflatten(0, (passes, -1)), how)

    def classify(self, purified: Tensor) -> Tensor:
        """The classifier's logits of purified images, ``[N, K]``."""
        logits: Tensor = self.classifier(cast_for(self.classifier, purified))
        return logits
