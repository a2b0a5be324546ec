"""What images, labels and attack budgets must look like; every violation is one clear :class:`InputError`."""

import math
from fractions import Fraction

import torch
from torch import Tensor

from purespike.errors import InputError


def check_images(images: Tensor, *, channels: int | None = None, name: str = "images") -> Tensor:
    """Return ``images`` unchanged if they are ``[N, C, H, W]`` floats in [0, 1].

    Args:
        images: what is to be checked.
        channels: the channel count the model was built for, if known.
        name: how the message calls them.

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


def check_labels(labels: Tensor, *, count: int, classes: int | None = None) -> Tensor:
    """Return ``labels`` as int64 if they are ``count`` class indices in ``[0, classes)``.

    Raises:
        InputError: wrong type, wrong length, or an index out of range.
    """
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


def parse_eps(eps: float | str, *, name: str = "eps") -> float:
    """Turn a perturbation size in pixel units, a number or a fraction such as ``"8/255"``, into a float.

    Raises:
        InputError: not a number, or outside [0, 1].
    """
    value = _number(eps, name=name, example="8/255")
    if not 0 <= value <= 1:
        raise InputError(
            f"{name}: must lie in [0, 1] in pixel units (1 = full range), got {eps}; write 8/255, not 8"
        )
    return value


def parse_radius(eps: float | str) -> float:
    """Turn an L2 radius in pixel units, a number or a fraction such as ``"128/255"``, into a float.

    Raises:
        InputError: not a number, not positive, or not finite.
    """
    value = _number(eps, name="eps", example="128/255")
    if not 0 < value < math.inf:
        raise InputError(f"eps: an L2 radius must be positive and finite, got {eps}")
    return value


def _number(text: float | str, *, name: str, example: str) -> float:
    try:
        return float(Fraction(text.replace(" ", ""))) if isinstance(text, str) else float(text)
    except (ValueError, ZeroDivisionError, TypeError, OverflowError):
        raise InputError(f"{name}: {text!r} is neither a number nor a fraction such as {example}") from None


def format_eps(eps: float) -> str:
    """Write a perturbation size the way the field does: ``8/255`` where that is exact, else a decimal."""
    level = eps * 255
    # the whole range, and a radius of an L2 ball, read better as they are
    if eps % 1 and round(level) and abs(level - round(level)) < 1e-6:
        return f"{round(level)}/255"
    return f"{eps:g}"


def check_steps(steps: int, *, name: str = "steps") -> int:
    """Return ``steps`` if it is a whole number of at least 1.

    Raises:
        InputError: anything else.
    """
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
        raise InputError(f"{name}: must be a whole number of at least 1, got {steps!r}")
    return steps
