"""Images as callers have them: a source by name, an image set, tensors, a ``Dataset`` or ``DataLoader``."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset

from purespike.data.image_set import ImageSet
from purespike.data.roles import labelled_for
from purespike.data.sources import load_images
from purespike.errors import InputError
from purespike.reading import reading

_FORMS = "give a source's name, an ImageSet, a Dataset or DataLoader of pairs, or (images, labels)"


def given_images(data: Any, model: Any) -> ImageSet | tuple[Any, Any]:
    """The images of ``data`` with their labels, those of a source or set in the order of the model's classes.

    Args:
        data: name of a source (its test split), an ``ImageSet``, a ``Dataset`` or ``DataLoader`` of pairs of
            image and label, which is read to its end, or a pair ``(images, labels)``, returned as it is.
        model: model that will see them.

    Raises:
        InputError: none of these, or a data set that fails or does not hold such pairs.
    """
    if isinstance(data, str):
        data = load_images(data)
    if isinstance(data, ImageSet):
        return labelled_for(model, data)
    if isinstance(data, Dataset | DataLoader):
        return _collected(data)
    if not isinstance(data, tuple | list) or len(data) != 2:
        raise InputError(f"data: got {type(data).__name__}; {_FORMS}")
    images, labels = data
    return images, labels


def _collected(data: Dataset[Any] | DataLoader[Any]) -> tuple[Tensor, Tensor]:
    """All images and labels, in the order in which the data set or its loader gives them."""
    kind = type(data).__name__
    with reading(f"data: {kind}", "does not give images of one size with a label each", remedy=_FORMS):
        if isinstance(data, IterableDataset) or not isinstance(data, Dataset):
            items: Iterable[Any] = data
        else:
            items = (data[index] for index in range(len(data)))  # type: ignore[arg-type]
        pairs = [(torch.as_tensor(image), torch.as_tensor(label)) for image, label in items]
        join = torch.cat if isinstance(data, DataLoader) and data.batch_size is not None else torch.stack
        return join([image for image, _ in pairs]), join([label for _, label in pairs])
