"""Image quality relative to clean versions: PSNR and SSIM."""

import math
from collections.abc import Sequence

from torch import Tensor
from torchmetrics.functional.image import peak_signal_noise_ratio, structural_similarity_index_measure

from purespike.errors import InputError
from purespike.results import Quality

# below this mean squared error two images count as equal; it bounds PSNR at 100 dB
_SMALLEST_ERROR = 1e-10
# torchmetrics' Gaussian window has 11 pixels and needs 5 of padding
_SSIM_SIZE = 6


def image_quality(images: Tensor, clean: Tensor) -> dict[str, Tensor]:
    """PSNR in dB (at most 100) and SSIM of each image against its clean version, ``[N]`` each.

    Args:
        images: ``[N, C, H, W]``; clipped to [0, 1] first, as a viewer would.
        clean: clean images of the same shape, in [0, 1].

    Returns:
        ``"psnr"``, and ``"ssim"`` if the images are large enough for its window.

    Raises:
        InputError: a purifier made something else of the images.
    """
    if images.shape != clean.shape or not images.is_floating_point():
        made, given = (f"{each.dtype} {list(each.shape)}" for each in (images, clean))
        raise InputError(f"the purifier makes {made} of images {given}; it must keep shape and floats")
    images = images.to(clean.dtype).clamp(0, 1)
    error = (images - clean).square().mean((1, 2, 3))
    values = peak_signal_noise_ratio(images, clean, data_range=1.0, reduction="none", dim=(1, 2, 3))
    values = values.where(error > _SMALLEST_ERROR, values.new_tensor(100.0))
    result = {"psnr": values}
    if min(images.shape[-2:]) >= _SSIM_SIZE:
        ssim = structural_similarity_index_measure(images, clean, data_range=1.0, reduction="none")
        assert isinstance(ssim, Tensor)
        result["ssim"] = ssim.reshape(len(images))
    return result


def mean_quality(description: str, parts: Sequence[dict[str, list[float]]]) -> list[Quality]:
    """The mean over the images of all ``parts``, each a result of :func:`image_quality`.

    Images that a purifier made no numbers of have no quality; where it did so with all, there is no mean.
    """
    rows = [row for part in parts for row in zip(*part.values(), strict=True) if all(map(math.isfinite, row))]
    if not rows:
        return []
    means = [sum(column) / len(rows) for column in zip(*rows, strict=True)]
    return [Quality(images=description, **dict(zip(parts[0], means, strict=True)))]
