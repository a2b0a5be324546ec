"""Output stages of a purifier: what becomes of the image and of the denoiser's last convolution.

The paper adds a residual to the image, so every perturbation also reaches the classifier along the identity,
and spikes would have to cancel it exactly. The other stages weaken that path, or cut it.
"""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

Stage = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class OutputStage:
    """One output stage.

    Args:
        maps: output channels of the denoiser for each channel of the image.
        apply: images ``[N, C, H, W]`` and the denoiser's output ``[N, maps * C, H, W]`` to purified images.
        start: the denoiser's output before training, one number for each of the maps.
    """

    maps: int
    apply: Stage
    start: tuple[float, ...] = (0.0,)


def _residual(images: Tensor, output: Tensor) -> Tensor:
    return images + output


def _bounded(images: Tensor, output: Tensor) -> Tensor:
    purified = images + output
    # clamped for the classifier alone: a gradient that ends at black and white would be masked, not robust
    return purified + (purified.clamp(0, 1) - purified).detach()


def _gated(images: Tensor, output: Tensor) -> Tensor:
    gate, painted = output.chunk(2, 1)
    return images + gate.sigmoid() * (painted.sigmoid() - images)


def _reconstruction(images: Tensor, output: Tensor) -> Tensor:
    return output.sigmoid()


OUTPUTS = {
    "residual": OutputStage(1, _residual),
    "bounded": OutputStage(1, _bounded),
    # half grey, images are none that any classifier was trained on; it starts by letting them pass
    "gated": OutputStage(2, _gated, start=(-3.0, 0.0)),
    "reconstruction": OutputStage(1, _reconstruction),
}
"""By name: ``residual``, x + r, is the paper's; ``bounded`` clamps it to [0, 1], and its gradient is that of
``residual``; ``gated`` is (1 - g) x + g s(r) with s the logistic function and an estimated gate g in (0, 1);
``reconstruction``, s(r), has no path from the image but through spikes."""
