"""Frequency encoding of FEEL-SNN (Xu et al., NeurIPS 2024): sharper at first, then ever more blurred."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from purespike.errors import InputError
from purespike.models.coding import Coding


@dataclass(frozen=True)
class Frequency(Coding):
    r"""The low frequencies of the image, fewer at each step.

    .. math:: x[t] = \mathcal{F}^{-1}\big(\mathcal{F}(x) \cdot [\,|k| < r_t\,]\big)

    k are the two frequencies of a coefficient, in periods per image side. The square :math:`|k| < r_t` is
    symmetric, so that x[t] is real. From half the larger side on, all frequencies are kept and x[t] is x.

    Args:
        radii: r_t of each step, whole numbers of at least 1; by default half the larger side of the image and
            2 less at each step, as the authors: 16, 14, … for 32×32 pixels, 32, 30, … for 64×64.
        faithful: the authors' square from -r_t to r_t - 1, which is not symmetric, and the magnitude of the
            complex image that it leaves. Its gradient is that of the magnitude, and negative values change
            sign: only to reproduce their figures.

    Frames are not normalised, as in the source.
    """

    normalised: ClassVar[bool] = False

    radii: tuple[float, ...] = ()
    faithful: bool = False

    def __post_init__(self) -> None:
        if any(radius < 1 or radius != int(radius) for radius in self.radii):
            raise InputError(
                f"coding frequency: radii must be whole numbers of at least 1, got {list(self.radii)}"
            )
        object.__setattr__(self, "radii", tuple(float(radius) for radius in self.radii))

    def encode(self, images: Tensor, time_steps: int) -> Tensor:
        half = math.ceil(max(images.shape[2:]) / 2)
        radii = self.radii or tuple(max(1, half - 2 * t) for t in range(time_steps))
        if len(radii) != time_steps:
            raise InputError(
                f"coding frequency: {len(radii)} radii for {time_steps} time steps; give one a step"
            )
        # half precision has no Fourier transform on most devices
        full = images.to(torch.promote_types(images.dtype, torch.float32))
        spectrum = torch.fft.fft2(full) if self.faithful else torch.fft.rfft2(full)
        return torch.cat([self._filtered(images, spectrum, radius, half) for radius in radii])

    def _filtered(self, images: Tensor, spectrum: Tensor, radius: float, half: int) -> Tensor:
        size = images.shape[2:]
        if radius >= half:
            return images.abs() if self.faithful else images
        masks = [self._mask(length, radius).to(images.device) for length in size]
        if self.faithful:
            return torch.fft.ifft2(spectrum * (masks[0][:, None] & masks[1])).abs().to(images)
        kept = spectrum * (masks[0][:, None] & masks[1][: spectrum.shape[-1]])
        return torch.fft.irfft2(kept, s=size).to(images)

    def _mask(self, length: int, radius: float) -> Tensor:
        """The frequencies to keep along one axis, in the order of the transform."""
        # as fftfreq has them, in whole numbers, and by operations that every exporter knows
        number = torch.arange(length)
        frequency = torch.where(number < (length + 1) // 2, number, number - length)
        return (frequency < radius) & (frequency >= -radius if self.faithful else frequency > -radius)
