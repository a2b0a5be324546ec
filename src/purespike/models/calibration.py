"""Data-dependent initialisation that keeps a network without batch normalisation firing."""

import torch
from torch import Tensor, nn


@torch.no_grad()
def calibrate(model: nn.Module, images: Tensor, pairs: list[nn.Conv2d]) -> None:
    """Give every neuron's input current zero mean and unit deviation per channel on ``images``.

    With the usual initialisation the currents shrink from layer to layer until the deep layers never reach
    their threshold, before and after training. Here each convolution is rescaled and shifted while the
    images pass through it, so a later layer already sees the corrected spikes of the earlier ones; the
    idea is that of layer-sequential unit-variance initialisation (Mishkin & Matas 2016).

    Args:
        model: network to run once on ``images``; its convolutions in ``pairs`` are changed in place.
        images: batch of typical input, ``[N, C, H, W]``.
        pairs: the convolutions, with bias, whose output is the current of a neuron.
    """

    def correct(convolution: nn.Conv2d, _: tuple[Tensor], current: Tensor) -> Tensor:
        assert convolution.bias is not None
        mean = current.mean((0, 2, 3))
        scale = 1 / current.std((0, 2, 3)).clamp(min=1e-6)
        convolution.weight.mul_(scale.view(-1, 1, 1, 1))
        convolution.bias.sub_(mean).mul_(scale)
        return (current - mean.view(1, -1, 1, 1)) * scale.view(1, -1, 1, 1)

    hooks = [convolution.register_forward_hook(correct) for convolution in pairs]
    try:
        model(images)
    finally:
        for hook in hooks:
            hook.remove()


def natural_noise(count: int, channels: int, size: int, *, seed: int) -> Tensor:
    """Seeded random images ``[count, channels, size, size]`` in [0, 1] with the 1/f spectrum of photographs.

    They replace real images where none are available yet.
    """
    generator = torch.Generator().manual_seed(seed)
    white = torch.randn(count, channels, size, size, generator=generator)
    frequency = torch.fft.fftfreq(size)
    radius = (frequency[:, None] ** 2 + frequency[None, :] ** 2).sqrt().clamp(min=1 / size)
    images = torch.fft.ifft2(torch.fft.fft2(white) / radius).real
    images = images / images.std((1, 2, 3), keepdim=True) * 0.25 + 0.5
    return images.clamp(0, 1)
