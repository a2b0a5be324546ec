"""Whether a model and images fit: one line that names the shape and the remedy where they do not."""

from typing import Any

import torch
from torch import Tensor, nn

from purespike.checks import check_labels, copy_for
from purespike.errors import InputError
from purespike.models.adapters import describe_outputs
from purespike.models.guard import brief
from purespike.modes import mode

# channels that images have: grey, grey and alpha, colour, colour and alpha
_CHANNELS = (1, 2, 3, 4)


_PRECISIONS = {
    torch.float64: "fp64",
    torch.float32: "fp32",
    torch.bfloat16: "bf16",
    torch.float16: "fp16",
}


def precision_of(*models: nn.Module) -> str:
    """The precision of the models' weights, in which they compute: ``"fp32"``, or ``"fp16, fp32"``."""
    kinds = {
        _PRECISIONS.get(parameter.dtype, str(parameter.dtype))
        for model in models
        for parameter in model.parameters()
        if parameter.is_floating_point()
    }
    return ", ".join(sorted(kinds)) or "fp32"


@torch.no_grad()
def check_fit(model: nn.Module, images: Tensor, labels: Tensor, *, name: str = "the model") -> int:
    """Try ``model``, called ``name`` in messages, on two images of a set with these labels.

    Args:
        model: images to logits.
        images: float ``[N, C, H, W]``, on the device of the model; a single one is tried twice.
        labels: labels of the full set, ``[N]``.

    Returns:
        Number of classes K.

    Raises:
        InputError: the model fails, returns no logits ``[N, K]`` of at least two classes, or a label is not
            below K.
    """
    images = images[:2] if len(images) > 1 else images[:1].expand(2, -1, -1, -1)
    try:
        with mode(model, training=False):
            outputs = model(copy_for(model, images))
    except InputError as error:
        hint = _hint(model, images)
        raise (InputError(f"{error}{hint}") if hint else error) from error.__cause__
    except Exception as error:
        shape = list(images.shape)
        raise InputError(
            f"{name} fails on images of shape {shape}: {brief(error)}{_hint(model, images)}"
        ) from error
    logits = as_logits(outputs, len(images), name)
    if logits.device != images.device:
        raise InputError(f"{name} returns logits on {logits.device}, but takes images on {images.device}")
    if logits.shape[1] < 2:
        raise InputError(
            f"{name} knows one class only, in which it cannot err; return a logit per class, e.g. 0 and the "
            "logit of a sigmoid"
        )
    check_labels(labels, count=len(labels), classes=logits.shape[1])
    return logits.shape[1]


def _hint(model: nn.Module, images: Tensor) -> str:
    """A guess at the channels: where they stand, and how many there should be."""
    channels = images.shape[1]
    first = next((each for each in model.modules() if isinstance(each, nn.Conv2d)), None)
    wanted = None if first is None else first.in_channels
    if channels not in _CHANNELS and images.shape[-1] in _CHANNELS:
        return "; the images look like [N, H, W, C]: give images.permute(0, 3, 1, 2)"
    if wanted is None or wanted == channels or not {wanted, channels} <= set(_CHANNELS):
        return ""
    remedy = {1: "images.mean(1, keepdim=True)", 3: "images.expand(-1, 3, -1, -1)"}.get(wanted)
    fitting = f": give {remedy}" if remedy and 1 in (channels, wanted) else ""
    return f"; the images have {channels} channel(s), its first convolution takes {wanted}{fitting}"


def as_logits(outputs: Any, count: int, name: str) -> Tensor:
    """``outputs`` if they are logits of ``count`` images.

    Raises:
        InputError: they are not.
    """
    said = f"{name} returns {describe_outputs(outputs)} for {count} images, not logits [N, K]"
    if not isinstance(outputs, Tensor):
        raise InputError(f"{said}; {_place(outputs, count)}")
    if outputs.ndim == 3 and outputs.shape[1] == count:
        raise InputError(f"{said}: [T, N, K]? average over the time steps with ps.Logits(model, take='mean')")
    if outputs.ndim == 3 and outputs.shape[0] == count:
        remedy = "ps.Logits(model, take=lambda outputs: outputs.mean(1))"
        raise InputError(f"{said}: [N, T, K]? average over the time steps with {remedy}")
    if outputs.ndim == 1 and len(outputs) == count:
        remedy = "ps.Logits(model, take=lambda z: torch.stack([-z, z], 1) / 2)"
        raise InputError(f"{said}: [N]? make two classes of one number with {remedy}")
    if outputs.ndim != 2 or len(outputs) != count:
        raise InputError(f"{said}; return one row of K logits for each image")
    if not outputs.is_floating_point() or outputs.is_sparse:
        kind = "sparse" if outputs.is_sparse else outputs.dtype
        raise InputError(f"{name} returns {kind} logits; they must be dense floating-point numbers")
    return outputs


def _place(outputs: Any, count: int) -> str:
    """The remedy for outputs that are no tensor: the place of the first that could be logits."""

    def fits(value: Any) -> bool:
        return isinstance(value, Tensor) and value.ndim == 2 and len(value) == count

    if hasattr(outputs, "images"):
        return "it is a purifier: put it before a classifier, Defended(purifier, classifier) or --purifier"
    take: Any = None
    if isinstance(outputs, dict):
        take = next((key for key in ("logits", *outputs) if fits(outputs.get(key))), None)
    elif isinstance(outputs, tuple | list):
        take = next((place for place, value in enumerate(outputs) if fits(value)), None)
    elif fits(getattr(outputs, "logits", None)):
        take = "logits"
    where = "…" if take is None else repr(take)
    return f"take them out with ps.Logits(model, take={where})"
