"""The target of the noise estimator: σ(n), which the paper leaves undefined, in three readings."""

import torch
from torch import Tensor
from torch.nn import functional

from purespike.errors import InputError, unknown

LEVELS = ("absolute", "signed", "local_std")


def true_noise_level(noise: Tensor, *, level: str = "absolute", window: int = 5) -> Tensor:
    r"""σ(n) of the noise n = x' - x, per pixel and channel, in pixel units.

    ``"absolute"`` is :math:`|n|`. ``"signed"`` is n itself: "underestimates" of eq. 8 are then values below
    n, whatever its sign. ``"local_std"`` is the standard deviation of n over a square window around each
    pixel, :math:`\sqrt{\overline{n^2} - \overline{n}^2}`; at a border over the part inside the image.

    Args:
        noise: ``[N, C, H, W]``.
        level: ``"absolute"``, ``"signed"`` or ``"local_std"``.
        window: odd side of the square in pixels, for ``"local_std"``.

    Returns:
        Same shape as ``noise``.

    Raises:
        InputError: unknown level, or a window that has no centre.
    """
    if level == "absolute":
        return noise.abs()
    if level == "signed":
        return noise
    if level != "local_std":
        raise unknown("noise level", level, LEVELS)
    if window < 1 or window % 2 == 0:
        raise InputError(f"window: must be odd and positive, so that a pixel is its centre, got {window}")
    first, second = (
        functional.avg_pool2d(power, window, stride=1, padding=window // 2, count_include_pad=False)
        for power in (noise, noise.square())
    )
    variance = second - first.square()
    # a difference of equals may round below zero, and at zero the root has no gradient
    return torch.where(variance > 0, variance, 1).sqrt() * (variance > 0)
