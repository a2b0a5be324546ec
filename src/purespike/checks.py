"""Validation of images and labels; every violation is one clear :class:`InputError`."""

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from purespike.errors import InputError, brief
from purespike.scalars import check_whole, plain


def check_images(images: Tensor, *, channels: int | None = None, name: str = "images") -> Tensor:
    """Return ``images`` unchanged if they are ``[N, C, H, W]`` floats in [0, 1].

    Args:
        images: tensor to check.
        channels: channel count of the model, if known.
        name: name of the tensor in messages.

    Raises:
        InputError: wrong rank, integer type, wrong channel count, NaN, or values outside [0, 1].
    """
    if not isinstance(images, Tensor):
        raise InputError(f"{name}: expected a torch tensor [N, C, H, W], got {type(images).__name__}")
    if images.ndim != 4:
        raise InputError(f"{name}: expected shape [N, C, H, W], got {list(images.shape)}")
    if not images.is_floating_point():
        raise InputError(
            f"{name}: expected floats in [0, 1], got {images.dtype}; convert with images.float() / 255"
        )
    if channels is not None and images.shape[1] != channels:
        raise InputError(f"{name}: the model takes {channels} channels, got {images.shape[1]}")
    if images.numel() == 0:
        return images
    low, high = (value.item() for value in torch.aminmax(images.detach()))
    if math.isnan(low) or math.isnan(high):
        raise InputError(f"{name}: contain NaN; clean the data first")
    if low < 0 or high > 1:
        raise InputError(
            f"{name}: values lie in [{low:.4g}, {high:.4g}], outside [0, 1]; "
            "models normalise inside, so pass raw pixels divided by 255"
        )
    return images


def as_tensor(values: Any) -> Any:
    """A NumPy array of numbers as a tensor; anything else unchanged."""
    if isinstance(values, np.ndarray) and values.dtype.kind in "fiu":
        return torch.from_numpy(np.array(values, dtype=values.dtype.newbyteorder("=")))
    return values


def check_labels(labels: Any, *, count: int, classes: int | None = None) -> Tensor:
    """Return ``labels`` as an int64 tensor if they are ``count`` class indices in ``[0, classes)``.

    Raises:
        InputError: wrong type, wrong length, or an index out of range.
    """
    labels = as_tensor(labels)
    if not isinstance(labels, Tensor) or labels.is_floating_point() or labels.dtype == torch.bool:
        raise InputError("labels: expected a tensor of integer class indices [N]")
    if labels.shape != (count,):
        raise InputError(f"labels: expected shape [{count}], one per image, got {list(labels.shape)}")
    if count and (labels.min() < 0 or (classes is not None and labels.max() >= classes)):
        upper = "" if classes is None else f" and at most {classes - 1}"
        raise InputError(
            f"labels: must be at least 0{upper}, found {labels.min().item()} to {labels.max().item()}"
        )
    return labels.long()


def check_steps(steps: int, *, name: str = "steps") -> int:
    """``steps`` as an int, if it is a whole number of at least 1.

    Raises:
        InputError: anything else.
    """
    return check_whole(steps, name=name, least=1)


def check_seed(seed: int) -> int:
    """``seed`` as an int, if it is a whole number from 0 to 2⁶³ − 1.

    Raises:
        InputError: anything else.
    """
    number = plain(seed)
    if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number < 2**63:
        raise InputError(f"seed: must be a whole number from 0 to 2^63 - 1, got {brief(seed)}")
    return number


def as_float(images: Tensor) -> Tensor:
    """uint8 images as floats in [0, 1]; floats unchanged."""
    return images.float() / 255 if images.dtype == torch.uint8 else images


def copy_for(model: nn.Module, images: Tensor) -> Tensor:
    """A differentiable copy of ``images``, in the type of all parameters of ``model`` if they share one."""
    return images.to(_taken(model, images), copy=True)


def cast_for(model: nn.Module, images: Tensor) -> Tensor:
    """``images``, in the type of all parameters of ``model`` if they share another one."""
    return images.to(_taken(model, images))


def _taken(model: nn.Module, images: Tensor) -> torch.dtype:
    types = (each.dtype for each in model.parameters() if each.is_floating_point())
    own = next(types, images.dtype)
    # the first parameter tells most models; only of others are all of them looked at
    return own if own != images.dtype and all(each == own for each in types) else images.dtype
