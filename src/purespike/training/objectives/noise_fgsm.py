"""N-FGSM: one step of the gradient from a noisy image, for training alone (de Jorge et al. 2022)."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from purespike.attacks.objective import finite, frozen_eval, input_gradient
from purespike.seeding import generator

NOISE = 2.0
"""Half the width of the noise, in budgets."""


def noise_fgsm(
    model: nn.Module, images: Tensor, loss: Callable[[Tensor], Tensor], *, eps: float, seed: int
) -> Tensor:
    """Noisy images, one step of ``eps`` up their loss; up to three budgets away, since nothing is projected.

    Noise beyond the ball, and not projecting, keep training by a single step from the catastrophic
    overfitting that befalls FGSM.

    Args:
        model: images to logits; differentiated in evaluation mode.
        images: ``[N, C, H, W]`` in [0, 1].
        loss: logits to a value per image, ``[N]``.
        eps: L∞ budget in pixel units.
        seed: seed of the noise.

    Returns:
        Images in [0, 1], same shape.
    """
    noise = torch.empty(images.shape).uniform_(-NOISE * eps, NOISE * eps, generator=generator(seed, "noise"))
    noisy = (images + noise.to(images)).clamp_(0, 1)
    with frozen_eval(model), torch.enable_grad():
        noisy.requires_grad_()
        gradient, _ = finite(input_gradient(loss(model(noisy)), noisy))
    return (noisy.detach() + eps * gradient.sign()).clamp_(0, 1)
