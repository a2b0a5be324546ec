"""Temporal information as commands print it."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from torch import nn

    from purespike.data import ImageSet

# images on which it is measured: a gradient for each of them and each time step
MEASURED = 64


def temporal_line(model: "nn.Module", data: "ImageSet", device: "torch.device") -> str:
    """Temporal information of a model's classifier on a few images of ``data``.

    Raises:
        InputError: the classifier is none of purespike's, or recalibrates channels.
    """
    from purespike.explain import temporal_information
    from purespike.models.predict import as_float

    few = data.take(MEASURED, seed=0)
    images, labels = as_float(few.images.to(device)), few.labels.to(device)
    return f"{len(few)} images: {temporal_information(model.to(device), images, labels)}"
