"""Images as callers have them: a source by name, an image set, tensors, a ``Dataset`` or ``DataLoader``."""

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset

from purespike.data.image_set import ImageSet
from purespike.data.roles import labelled_for
from purespike.data.sources import load_images
from purespike.errors import InputError
from purespike.progress import bar
from purespike.reading import MEBIBYTE, megabytes, reading

_FORMS = "give a source's name, an ImageSet, a Dataset or DataLoader of pairs, or (images, labels)"

# images and bytes after which a stream is taken for an endless one
LONGEST, LARGEST = 100_000, 4096 * MEBIBYTE


def given_images(data: Any, model: Any) -> ImageSet | tuple[Any, Any]:
    """The images of ``data`` with their labels, those of a source or set in the order of the model's classes.

    Args:
        data: name of a source (its test split), an ``ImageSet``, a ``Dataset`` or ``DataLoader`` of pairs of
            image and label, or a pair ``(images, labels)``, returned as it is. A data set is read to its end:
            a sample by class needs all labels. One that does not tell its length ends before 100,000 images
            and 4 GiB.
        model: model that will see them.

    Raises:
        InputError: none of these, a data set that fails or does not hold such pairs, or a stream that does
            not end.
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
        batched = isinstance(data, DataLoader) and data.batch_size is not None
        items, length = _items(data)
        read = ((torch.as_tensor(image), torch.as_tensor(label)) for image, label in items)
        pairs = _until_its_end(read, kind, batched=batched) if length is None else read
        images, labels = zip(*pairs, strict=True)
        join = torch.cat if batched else torch.stack
        return join(images), join(labels)


def _items(data: Dataset[Any] | DataLoader[Any]) -> tuple[Iterable[Any], int | None]:
    """The items of ``data``, and their number; ``None`` where it is unknown, or not to be relied on."""
    if isinstance(data, IterableDataset):
        return data, None
    if isinstance(data, DataLoader):
        if isinstance(data.dataset, IterableDataset):
            return data, None
        try:
            return data, len(data)
        except TypeError:
            # a sampler without a length may draw without an end
            return data, None
    length = len(data)  # type: ignore[arg-type]
    return (data[index] for index in range(length)), length


def _until_its_end(
    pairs: Iterable[tuple[Tensor, Tensor]], kind: str, *, batched: bool
) -> Iterator[tuple[Tensor, Tensor]]:
    """``pairs``, as long as they are no more than the limits allow."""
    count = size = 0
    with bar(f"reading {kind}, at most", LONGEST) as progress:
        for image, label in pairs:
            read = len(image) if batched else 1
            count, size = count + read, size + image.nbytes
            if count > LONGEST or size > LARGEST:
                raise InputError(
                    f"data: {kind}: gave {count:,} images ({megabytes(size)}) and did not end, the limit is "
                    f"{LONGEST:,} and {megabytes(LARGEST)}; a sample by class needs all labels: give a "
                    "finite part, e.g. (images, labels)"
                )
            progress.advance(read)
            yield image, label
