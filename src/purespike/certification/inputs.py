"""Models that can be certified: a function of one image, whose draws know nothing of each other."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from purespike.errors import InputError, kind_of
from purespike.evaluation.diagnostics.determinism import in_training
from purespike.evaluation.inputs import apart, nature
from purespike.models import Defended
from purespike.models.adapters import as_module, as_modules
from purespike.models.answer import logits_of
from purespike.settings import DEFAULT_THRESHOLDS

DEFENDED, BARE, MODEL = "defended model", "bare classifier", "model"


def named_models(
    model: Any, compare: Mapping[str, Any] | None, *, name: str | None, alone: bool
) -> dict[str, nn.Module]:
    """The models to certify by name: the one in question, its bare classifier, and those to compare.

    Raises:
        InputError: a model that is none, in training mode, or with a name that is taken.
    """
    others = as_modules(compare, name="compare")
    if name is not None and not isinstance(name, str):
        raise InputError(f"name: a name is text, got {kind_of(name)}")
    model = as_module(model)
    defended = isinstance(model, Defended)
    models = {name or (DEFENDED if defended else MODEL): model}
    if defended and not alone:
        models |= {BARE if name is None else f"{name}, {BARE}": model.classifier}
    for key, other in others.items():
        if key in models:
            raise InputError(f"compare: the name {key!r} is taken by another model; choose another one")
        models[key] = other
    for key, each in models.items():
        if training := in_training(each):
            raise InputError(
                f"{key}: is in training mode ({', '.join(training[:3])}); call eval() first: a certificate "
                "is that of the model as it is used"
            )
    return models


@torch.no_grad()
def check_independent(model: nn.Module, images: Tensor, *, name: str) -> bool:
    """Check that the answer to a draw depends on that draw alone, as the bound on the counts assumes.

    Args:
        model: images to logits, in evaluation mode.
        images: some images, ``[N, C, H, W]``.
        name: name of the model in messages.

    Returns:
        Whether the model is stochastic.

    Raises:
        InputError: the model keeps state between calls, or the images of a batch change each other's logits.
    """
    tolerance = DEFAULT_THRESHOLDS.nondeterminism
    found = nature(model, images, tolerance)
    if found.kind == "stateful":
        raise InputError(
            f"{name}: keeps state between calls (logits {found.apart:.2g} apart), so that draws are not "
            "independent; reset its neurons before every forward: purespike.Resetting(model)"
        )
    if found.kind == "stochastic":
        return True
    # one image alone would have no company
    images = torch.cat((images, images + 0.1 * torch.randn_like(images)))
    together = logits_of(model, images)
    distance = apart(together, torch.cat([logits_of(model, image[None]) for image in images]))
    # batches of other sizes round differently; a spiking network may flip a spike for it
    if distance > max(0.02 * together.abs().max().item(), tolerance):
        raise InputError(
            f"{name}: an image alone and in a batch gives logits {distance:.2g} apart, so that draws are "
            "not independent; the model must be a function of one image (batch norm without statistics?)"
        )
    return False
