"""Predictions of a full set, batch by batch."""

import torch
from torch import Tensor, nn

from purespike.checks import as_float, check_labels
from purespike.errors import InputError
from purespike.modes import mode


@torch.inference_mode()
def predict(
    model: nn.Module, images: Tensor, *, batch_size: int = 256, device: torch.device | str | None = None
) -> Tensor:
    """Predicted classes, int64 ``[N]`` on the CPU, in evaluation mode; the model's mode is restored.

    Args:
        model: images to logits.
        images: ``[N, C, H, W]``, floats in [0, 1] or uint8.
        batch_size: images per forward.
        device: device of the model; by default that of its first parameter.
    """
    if device is None:
        device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
    with mode(model, training=False):
        classes = [model(as_float(batch.to(device))).argmax(1).cpu() for batch in images.split(batch_size)]
    return torch.cat(classes) if classes else torch.empty(0, dtype=torch.long)


@torch.inference_mode()
def check_fit(model: nn.Module, image: Tensor, labels: Tensor, *, name: str = "the model") -> int:
    """Try ``model``, called ``name`` in messages, on some images of a set with these labels.

    Args:
        model: images to logits.
        image: float ``[N, C, H, W]``, on the device of the model; a single one is tried twice in one batch,
            since a model may give one row of logits whatever it gets.
        labels: labels of the full set, ``[N]``.

    Returns:
        Number of classes K.

    Raises:
        InputError: the model fails, returns no logits ``[N, K]`` of at least two classes, or a label is not
            below K.
    """
    if len(image) == 1:
        image = image.repeat(2, 1, 1, 1)
    try:
        with mode(model, training=False):
            logits = model(image)
    except InputError:
        raise
    except Exception as error:
        detail = " ".join(str(error).split())[:200]
        raise InputError(f"{name} fails on images of shape {list(image.shape)}: {detail}") from error
    if not isinstance(logits, Tensor) or logits.ndim != 2 or len(logits) != len(image):
        got = f", got {list(logits.shape)} for {len(image)} images" if isinstance(logits, Tensor) else ""
        raise InputError(f"{name} must map images [N, C, H, W] to logits [N, K]{got}")
    if logits.shape[1] < 2:
        raise InputError(
            f"{name} knows one class only, in which it cannot err; return a logit per class, e.g. 0 and the "
            "logit of a sigmoid"
        )
    check_labels(labels, count=len(labels), classes=logits.shape[1])
    return logits.shape[1]
