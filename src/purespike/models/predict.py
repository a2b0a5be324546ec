"""Predictions of a full set, batch by batch."""

import torch
from torch import Tensor, nn

from purespike.checks import as_float
from purespike.models.answer import logits_of
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
        classes = [
            logits_of(model, as_float(batch.to(device))).argmax(1).cpu() for batch in images.split(batch_size)
        ]
    return torch.cat(classes) if classes else torch.empty(0, dtype=torch.long)
