"""Whether outputs of another program are those of the model, up to what rounding does to spikes."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from purespike.exporting.subject import outputs_of

TOLERANCE = 1e-4
"""Difference, relative to the largest output, up to which two programs count as equal."""
DRAWS, ROUNDING = 3, 2.0**-23
WITHIN = 3.0
"""Factor by which another program may differ more than the model does from itself."""


@dataclass(frozen=True)
class Agreement:
    """Comparison of two programs on the same images.

    Args:
        images: number of images.
        largest: largest difference of an output.
        differing: images that differ by more than rounding: a spike of them fell otherwise.
        own: mean difference of the model from itself when its input is rounded otherwise, or it computes in
            float64; 0 where that was not needed.
        agree: whether the two are the same function.
    """

    images: int
    largest: float
    differing: int
    own: float
    agree: bool

    def __str__(self) -> str:
        text = f"largest difference {self.largest:.1e} on {self.images} images"
        if not self.differing:
            return text
        return (
            f"{text}; on {self.differing} of them a spike at its threshold is rounded otherwise (the model "
            f"differs from itself by {self.own:.1e} on average when its rounding changes)"
        )


@torch.no_grad()
def compare(model: nn.Module, images: Tensor, theirs: Sequence[Tensor]) -> Agreement:
    """Compare the outputs of another program with those of ``model``.

    A membrane within rounding of its threshold may fire in one program and not in the other; the outputs of
    that image then differ visibly, though both are right. In a network of a million neurons that happens in
    most images. So where outputs differ by more than rounding, the other program may differ from the model no
    more, on average, than three times as much as the model differs from itself: in float64, and for images
    changed by 2⁻²³.

    Args:
        model: images to outputs, deterministic.
        images: ``[N, C, H, W]``.
        theirs: outputs of the other program for the same images.
    """
    ours = outputs_of(model, images)
    same_shape = len(ours) == len(theirs) and all(
        a.shape == b.shape for a, b in zip(ours, theirs, strict=True)
    )
    if not same_shape or not all(bool(each.isfinite().all()) for each in theirs):
        return Agreement(len(images), float("inf"), len(images), 0.0, False)
    scale = max(1.0, *(each.abs().max().item() for each in ours))
    apart = _apart(ours, theirs)
    differing = int((apart > TOLERANCE * scale).sum())
    largest = apart.max().item()
    if not differing:
        return Agreement(len(images), largest, 0, 0.0, True)
    own = _own_differences(model, images, ours).mean().item()
    agree = apart.mean().item() <= WITHIN * own + TOLERANCE * scale
    return Agreement(len(images), largest, differing, own, agree)


def _apart(one: Sequence[Tensor], other: Sequence[Tensor]) -> Tensor:
    """Largest difference of any output of each image, ``[N]``."""
    gaps = [
        (a.double().cpu() - b.double().cpu()).abs().flatten(1).amax(1)
        for a, b in zip(one, other, strict=True)
    ]
    return torch.stack(gaps).amax(0)


def _own_differences(model: nn.Module, images: Tensor, ours: Sequence[Tensor]) -> Tensor:
    """How far each image's outputs move when the model's rounding changes, the largest of some changes."""
    found: list[Tensor] = []
    generator = torch.Generator().manual_seed(0)
    for _ in range(DRAWS):
        nudge = torch.randn(images.shape, generator=generator).to(images) * ROUNDING
        # both ways: what lies exactly at a threshold moves in one of them alone
        found += [_apart(ours, outputs_of(model, moved)) for moved in (images + nudge, images - nudge)]
    try:
        exact = copy.deepcopy(model).double()
        found.append(_apart(ours, outputs_of(exact, images.double())))
    except Exception:
        # a model of somebody else's may be unable to compute in float64; the nudges remain
        pass
    return torch.stack(found).amax(0)
