"""A model's view of one image: its classes, its spikes, what its purifier made of the image, its gate."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from purespike.models import Defended
from purespike.neurons import LayerFiring, answer_and_firing
from purespike.rejection import Rejecting

GAIN = 8
"""Factor at which a difference of images is shown, around mid grey."""


@dataclass(frozen=True, eq=False, kw_only=True)
class View:
    """What a model makes of one image.

    Args:
        image: ``[C, H, W]`` in [0, 1].
        clean: the image before any attack, same shape.
        purified: the image that the classifier sees, same shape; ``None`` without a purifier.
        probabilities: of each class, K values.
        layers: spikes of each layer at each time step, by name, in the order of execution.
        score: score of the gate, the higher the more the image looks attacked; ``None`` without a gate.
        threshold: largest score that is accepted; ``None`` without a gate.
    """

    image: Tensor
    clean: Tensor
    purified: Tensor | None
    probabilities: tuple[float, ...]
    layers: Mapping[str, LayerFiring]
    score: float | None = None
    threshold: float | None = None

    @property
    def prediction(self) -> int:
        """The most probable class."""
        return max(range(len(self.probabilities)), key=self.probabilities.__getitem__)

    @property
    def accepted(self) -> bool | None:
        """Whether the gate lets the image pass; ``None`` without a gate."""
        return None if self.score is None or self.threshold is None else self.score <= self.threshold

    @property
    def difference(self) -> Tensor:
        """The difference to the clean image, eightfold around mid grey, ``[C, H, W]``, clipped to [0, 1]."""
        return (0.5 + GAIN * (self.image - self.clean)).clamp(0, 1)

    @property
    def distance(self) -> float:
        """L∞ distance to the clean image in pixel units."""
        return (self.image - self.clean).abs().max().item()

    @property
    def spikes(self) -> float:
        """Number of all spikes."""
        return sum(sum(layer.spikes) for layer in self.layers.values())


def view(model: nn.Module, image: Tensor, clean: Tensor, gate: Rejecting | None = None) -> View:
    """What ``model`` makes of ``image``.

    Args:
        model: images to logits, purified or not; called in evaluation mode.
        image: ``[C, H, W]`` in [0, 1], on the device of the model.
        clean: the image before any attack.
        gate: the same model with a calibrated gate.
    """
    logits, layers = answer_and_firing(model, image[None])
    purified, score = None, None
    with torch.no_grad():
        if isinstance(model, Defended):
            # a model that averages passes repeats the image; one of them is shown
            purified = model.purify(image[None])[0].clamp(0, 1).cpu()
        if gate is not None:
            score = gate.scores(image[None]).item()
    return View(
        image=image.detach().cpu(),
        clean=clean.cpu(),
        purified=purified,
        probabilities=tuple(logits[0].float().softmax(0).tolist()),
        layers=layers,
        score=score,
        threshold=None if gate is None else gate.threshold,
    )
