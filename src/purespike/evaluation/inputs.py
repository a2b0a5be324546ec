"""What an evaluation is given: images with labels, and a model that fits them."""

import hashlib
import json
from typing import Any

import torch
from torch import Tensor, nn

from purespike.checks import check_images, check_labels
from purespike.data import ImageSet
from purespike.errors import InputError
from purespike.evaluation.threat import classifier_of
from purespike.models import Defended, predict
from purespike.models.checkpoint import part_config
from purespike.models.predict import as_float
from purespike.seeding import seeded

Pair = tuple[Tensor, Tensor]


def read_images(
    data: ImageSet | Pair, *, limit: int | None, seed: int
) -> tuple[Tensor, Tensor, dict[str, Any]]:
    """Images, labels and a description of them, at most ``limit`` (a stratified subset of a set).

    Raises:
        InputError: images that are not ``[N, C, H, W]`` floats in [0, 1], or labels
            that are not class indices, one per image.
    """
    if isinstance(data, ImageSet):
        data = data.take(limit, seed=seed)
        source, _, split = data.name.rpartition("/")
        description = {"source": source, "split": split, "n": len(data), "fingerprint": data.fingerprint()}
        return data.images, data.labels, description
    images, labels = data
    check_images(images)
    labels = check_labels(labels, count=len(images))
    images, labels = images[:limit], labels[:limit]
    digest = hashlib.sha256(images.cpu().numpy().tobytes() + labels.cpu().numpy().tobytes()).hexdigest()
    return images, labels, {"source": "tensors", "split": "given", "n": len(labels), "fingerprint": digest}


def check_fit(
    model: nn.Module, images: Tensor, labels: Tensor, device: torch.device, *, name: str = "the model"
) -> None:
    """Try the model, called ``name`` in messages, on one image before hours of attacks.

    Raises:
        InputError: no images, or what :func:`purespike.models.predict.check_fit` raises.
    """
    if not len(images):
        raise InputError("evaluate: no images")
    predict.check_fit(model, as_float(images[:1].to(device)), labels, name=name)


@torch.no_grad()
def draws(model: nn.Module, images: Tensor, tolerance: float) -> bool:
    """Whether other random numbers give ``model`` other logits, by more than ``tolerance``.

    A model that keeps state gives others even with the same ones; it is broken, not random.
    """
    logits = []
    for seed in (0, 0, 1):
        with seeded("draws", seed, device=images.device):
            logits.append(model(images).float())
    again, other = ((logits[0] - later).abs().max().item() for later in logits[1:])
    return again <= tolerance < other


def describe_model(model: nn.Module) -> dict[str, Any]:
    """Architecture, settings and parameter count of classifier and purifier, as JSON values."""
    parts: dict[str, nn.Module | None] = {"classifier": classifier_of(model), "purifier": None}
    if isinstance(model, Defended):
        parts["purifier"] = model.purifier
    return {name: None if part is None else _describe(part) for name, part in parts.items()}


def _describe(part: nn.Module) -> dict[str, Any]:
    parameters = sum(parameter.numel() for parameter in part.parameters())
    return {**json.loads(json.dumps(part_config(part), default=str)), "parameters": parameters}
