"""Inputs of an evaluation: images with labels, and a model that fits them."""

import hashlib
import json

import torch
from torch import Tensor, nn

from purespike.checks import as_float, check_images, check_labels
from purespike.data import ImageSet
from purespike.data.sampling import stratified_indices
from purespike.errors import InputError
from purespike.evaluation.threat import classifier_of
from purespike.models import Defended, predict
from purespike.models.checkpoint import part_config
from purespike.results import DataDescription, ModelDescription, PartDescription
from purespike.seeding import seeded

Pair = tuple[Tensor, Tensor]


def read_images(
    data: ImageSet | Pair, *, limit: int | None, seed: int
) -> tuple[Tensor, Tensor, DataDescription]:
    """Images, labels and a description of them, at most ``limit``: a stratified subset.

    A class that the full data have and the subset lacks is in the description.

    Raises:
        InputError: images that are not ``[N, C, H, W]`` floats in [0, 1], or labels
            that are not class indices, one per image.
    """
    if isinstance(data, ImageSet):
        everything, data = data.labels, data.take(limit, seed=seed)
        source, _, split = data.name.rpartition("/")
        fingerprint = data.fingerprint()
        described = DataDescription(
            source=source,
            split=split,
            n=len(data),
            fingerprint=fingerprint,
            **_missing(everything, data.labels),
        )
        return data.images, data.labels, described
    images, labels = data
    check_images(images)
    labels = check_labels(labels, count=len(images))
    everything = labels
    if limit is not None and limit < len(labels):
        rows = stratified_indices(labels, limit, seed=seed)
        images, labels = images[rows.to(images.device)], labels[rows.to(labels.device)]
    digest = hashlib.sha256(images.cpu().numpy().tobytes() + labels.cpu().numpy().tobytes()).hexdigest()
    missing = _missing(everything, labels)
    described = DataDescription(source="tensors", split="given", n=len(labels), fingerprint=digest, **missing)
    return images, labels, described


def _missing(everything: Tensor, labels: Tensor) -> dict[str, tuple[int, ...]]:
    """The field of a description that names the classes which a subset lacks, if there are any."""
    lacking = sorted(set(everything.tolist()) - set(labels.tolist()))
    return {"missing_classes": tuple(lacking)} if lacking else {}


def check_fit(
    model: nn.Module, images: Tensor, labels: Tensor, device: torch.device, *, name: str = "the model"
) -> int:
    """Number of classes of the model, called ``name`` in messages, tried before hours of attacks.

    Raises:
        InputError: no images, or as :func:`purespike.models.predict.check_fit` raises.
    """
    if not len(images):
        raise InputError("evaluate: no images")
    return predict.check_fit(model, as_float(images[:2].to(device)), labels, name=name)


@torch.no_grad()
def is_stochastic(model: nn.Module, images: Tensor, tolerance: float) -> bool:
    """Whether another seed changes the logits by more than ``tolerance``.

    A model that keeps state changes them even under the same seed; it is faulty, not stochastic.
    """
    logits = []
    for seed in (0, 0, 1):
        with seeded("draws", seed, device=images.device):
            logits.append(model(images).float())
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
