"""Accuracies with their uncertainty, and the likeness of images."""

from collections.abc import Sequence
from typing import Any

from scipy.stats import binomtest
from torch import Tensor
from torchmetrics.functional.image import peak_signal_noise_ratio, structural_similarity_index_measure

# below this mean squared error two images are called equal; it bounds PSNR at 100 dB
_SMALLEST_ERROR = 1e-10
# torchmetrics' Gaussian window has 11 pixels and needs 5 of padding
_SSIM_SIZE = 6


def score(outcomes: Sequence[int]) -> dict[str, Any]:
    """Share of ones among ``outcomes`` with its 95% Wilson interval (Wilson 1927)."""
    return share(sum(outcomes), len(outcomes))


def share(correct: int, n: int) -> dict[str, Any]:
    """``correct`` of ``n`` with the 95% Wilson interval."""
    interval = binomtest(correct, n).proportion_ci(confidence_level=0.95, method="wilson")
    return {
        "correct": correct,
        "n": n,
        "accuracy": correct / n,
        "low": float(interval.low),
        "high": float(interval.high),
    }


def likeness(images: Tensor, clean: Tensor) -> dict[str, Tensor]:
    """PSNR in dB (at most 100) and SSIM of each image against its clean version, ``[N]`` each.

    Args:
        images: ``[N, C, H, W]``; clipped to [0, 1] first, as a viewer would.
        clean: same shape, in [0, 1].

    Returns:
        ``"psnr"``, and ``"ssim"`` if the images are large enough for its window.
    """
    images = images.clamp(0, 1)
    error = (images - clean).square().mean((1, 2, 3))
    values = peak_signal_noise_ratio(images, clean, data_range=1.0, reduction="none", dim=(1, 2, 3))
    values = values.where(error > _SMALLEST_ERROR, values.new_tensor(100.0))
    result = {"psnr": values}
    if min(images.shape[-2:]) >= _SSIM_SIZE:
        ssim = structural_similarity_index_measure(images, clean, data_range=1.0, reduction="none")
        assert isinstance(ssim, Tensor)
        result["ssim"] = ssim.reshape(len(images))
    return result
