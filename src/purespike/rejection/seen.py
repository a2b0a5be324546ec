"""What a model makes of some images, computed when asked for and once: scores and logits share it."""

import functools

from torch import Tensor, nn

from purespike.checks import copy_for
from purespike.errors import InputError
from purespike.models import Defended
from purespike.models.answer import logits_of


class Seen:
    """Images as a classifier, or a purifier and a classifier, see them; everything is differentiable.

    Args:
        model: images to logits; in a ``Defended`` the purifier is seen too.
        images: ``[N, C, H, W]`` in [0, 1].
    """

    def __init__(self, model: nn.Module, images: Tensor) -> None:
        self.model, self.images = model, images

    @property
    def classifier(self) -> nn.Module:
        """The classifier alone, images to logits."""
        return self.model.classifier if isinstance(self.model, Defended) else self.model

    @functools.cached_property
    def _purifier_output(self) -> Tensor | tuple[Tensor, Tensor]:
        assert isinstance(self.model, Defended)
        output: Tensor | tuple[Tensor, Tensor] = self.model.purifier(
            copy_for(self.model.purifier, self.images)
        )
        return output

    @property
    def purified(self) -> Tensor:
        """The purified images, ``[N, C, H, W]``; needs a purifier."""
        output = self._purifier_output
        return output if isinstance(output, Tensor) else output.images  # type: ignore[attr-defined]

    @property
    def noise_level(self) -> Tensor:
        """The noise level that the purifier estimates, ``[N, C, H, W]``.

        Raises:
            InputError: the purifier returns none.
        """
        level = getattr(self._purifier_output, "noise_level", None)
        if not isinstance(level, Tensor):
            raise InputError(
                "score: the purifier returns no noise_level; choose purification_distance, or a purifier "
                "that returns Purified(images, noise_level)"
            )
        return level

    @functools.cached_property
    def bare_logits(self) -> Tensor:
        """Logits of the classifier on the images as they are, ``[N, K]``."""
        return logits_of(self.classifier, self.images)

    @functools.cached_property
    def purified_logits(self) -> Tensor:
        """Logits of the classifier on the purified images, ``[N, K]``; needs a purifier."""
        return logits_of(self.classifier, self.purified)

    @property
    def logits(self) -> Tensor:
        """Logits of the model, ``[N, K]``."""
        if not isinstance(self.model, Defended):
            return self.bare_logits
        # one that purifies some images only, or answers otherwise, decides for itself
        whole = type(self.model).purify is Defended.purify and self.model.by_parts
        return self.purified_logits if whole else logits_of(self.model, self.images)
