"""Inputs of an evaluation: images with labels, and a model that fits them."""

import hashlib
import json

import torch
from torch import Tensor, nn

from purespike.checks import as_float, check_images, check_labels
from purespike.data import ImageSet
from purespike.errors import InputError
from purespike.evaluation.threat import classifier_of
from purespike.models import Defended, predict
from purespike.models.answer import logits_of
from purespike.models.checkpoint import part_config
from purespike.results import DataDescription, ModelDescription, PartDescription
from purespike.seeding import seeded

Pair = tuple[Tensor, Tensor]


def read_images(
    data: ImageSet | Pair, *, limit: int | None, seed: int
) -> tuple[Tensor, Tensor, DataDescription]:
    """Images, labels and a description of them, at most ``limit`` (a stratified subset of a set).

    Raises:
        InputError: images that are not ``[N, C, H, W]`` floats in [0, 1], or labels
            that are not class indices, one per image.
    """
    if isinstance(data, ImageSet):
        data = data.take(limit, seed=seed)
        source, _, split = data.name.rpartition("/")
        fingerprint = data.fingerprint()
        described = DataDescription(source=source, split=split, n=len(data), fingerprint=fingerprint)
        return data.images, data.labels, described
    images, labels = data
    check_images(images)
    labels = check_labels(labels, count=len(images))
    images, labels = images[:limit], labels[:limit]
    digest = hashlib.sha256(images.cpu().numpy().tobytes() + labels.cpu().numpy().tobytes()).hexdigest()
    described = DataDescription(source="tensors", split="given", n=len(labels), fingerprint=digest)
    return images, labels, described


def check_fit(
    model: nn.Module, images: Tensor, labels: Tensor, device: torch.device, *, name: str = "the model"
) -> None:
    """Try the model, called ``name`` in messages, on one image before hours of attacks.

    Raises:
        InputError: no images, or as :func:`purespike.models.predict.check_fit` raises.
    """
    if not len(images):
        raise InputError("evaluate: no images")
    predict.check_fit(model, as_float(images[:1].to(device)), labels, name=name)


@torch.no_grad()
def is_stochastic(model: nn.Module, images: Tensor, tolerance: float) -> bool:
    """Whether another seed changes the logits by more than ``tolerance``.

    A model that keeps state changes them even under the same seed; it is faulty, not stochastic.
    """
    logits = []
    for seed in (0, 0, 1):
        with seeded("draws", seed, device=images.device):
            logits.append(logits_of(model, images))
    again, other = ((logits[0] - later).abs().max().item() for later in logits[1:])
    return again <= tolerance < other


def describe_model(model: nn.Module) -> ModelDescription:
    """Architecture, settings and parameter count of classifier and purifier."""
    purifier = _describe(model.purifier) if isinstance(model, Defended) else None
    return ModelDescription(classifier=_describe(classifier_of(model)), purifier=purifier)


def _describe(part: nn.Module) -> PartDescription:
    parameters = sum(parameter.numel() for parameter in part.parameters())
    settings = json.loads(json.dumps(part_config(part), default=str))
    return PartDescription(**settings, parameters=parameters)
