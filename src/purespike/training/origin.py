"""Origin of a trained file: the recipe, data and seed it was made with, and whom it was made for."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import nn

from purespike.data import ImageSet
from purespike.errors import InputError
from purespike.models.checkpoint import part_config
from purespike.models.released import FILE
from purespike.recipe import Training

KEY = "trained"
"""Key of the origin in the metadata of a file."""


def origin_of(
    stage: str, recipe: Training, data: ImageSet, *, seed: int, classifier: nn.Module | None = None
) -> dict[str, Any]:
    """The origin of a file, as plain JSON values.

    Args:
        stage: ``"classifier"`` or ``"purifier"``.
        recipe: section of the recipe.
        data: training images.
        seed: seed of the run.
        classifier: the classifier that a purifier protects.
    """
    origin = {
        "stage": stage,
        "recipe": recipe.model_dump(mode="json"),
        "data": data.fingerprint(),
        "seed": seed,
    }
    if classifier is not None:
        settings = json.loads(json.dumps(part_config(classifier), default=str))
        origin["classifier"] = {"settings": settings, "weights": weights_of(classifier)}
    return origin


def weights_of(model: nn.Module) -> str:
    """SHA-256 over names, types, shapes and values of all parameters and buffers, in hexadecimal."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(repr((name, tensor.dtype, tuple(tensor.shape))).encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def handed_over() -> dict[str, Any]:
    """The origin of a classifier that was handed to a run instead of trained by it."""
    return {"stage": "classifier", "given": True}


def check_origin(path: Path, origin: Mapping[str, Any]) -> None:
    """Check that the file at ``path`` was trained as ``origin`` says; a file without an origin passes.

    A key newer than the file is not compared.

    Raises:
        InputError: a difference, which the message names, or a damaged file.
    """
    if not path.exists():
        return
    try:
        with safe_open(path, framework="pt") as file:
            kept = json.loads((file.metadata() or {}).get(KEY, "null"))
    except (SafetensorError, OSError, ValueError, RecursionError):
        # the reader of the weights says what is wrong
        return
    compare(path, kept, origin)


def compare(path: Path, kept: Any, origin: Mapping[str, Any]) -> None:
    """As :func:`check_origin`, for an origin that was read."""
    if not isinstance(kept, dict) or kept.get("given"):
        return
    if changed := sorted(_differences(kept, origin)):
        of = "the weights of the classifier" if changed[0] == "classifier.weights" else ", ".join(changed[:5])
        raise InputError(
            f"{path}: was made for something else (differs in {of}); choose another --out, or delete it "
            "to make it again"
        )


def made_for(path: Path, classifier: nn.Module) -> bool:
    """Whether the purifier at ``path`` was trained for ``classifier``, as far as the file says.

    Args:
        path: a checkpoint, or a run folder.
        classifier: any module.
    """
    if path.is_dir() and (path / FILE).exists():
        # its classifier was trained along, and is of the same folder
        return True
    try:
        with safe_open(path / "purifier.safetensors" if path.is_dir() else path, framework="pt") as file:
            kept = json.loads((file.metadata() or {}).get(KEY, "null"))
        return bool(kept["classifier"]["weights"] == weights_of(classifier))
    except (SafetensorError, OSError, ValueError, RecursionError, KeyError, TypeError):
        return True


def _differences(kept: Any, origin: Any, prefix: str = "") -> set[str]:
    if isinstance(kept, Mapping) and isinstance(origin, Mapping):
        return {
            place
            for key in kept.keys() & origin.keys()
            for place in _differences(kept[key], origin[key], f"{prefix}.{key}".lstrip("."))
        }
    return set() if kept == origin else {prefix}
