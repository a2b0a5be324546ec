"""A gradient estimated from outputs alone, for models whose autograd gradient is missing or misleading."""

from collections.abc import Callable

import torch
from torch import Tensor

from purespike.budget import parse_eps
from purespike.checks import check_images, check_steps
from purespike.errors import InputError


def parse_probe(delta: float | str) -> float:
    """Turn a probe size in pixel units, a number or a fraction such as ``"2/255"``, into a float.

    Raises:
        InputError: not a number, or outside (0, 1].
    """
    value = parse_eps(delta, name="delta")
    if not value:
        raise InputError("delta: a probe of size 0 sees no difference; the default is 0.01")
    return value


@torch.no_grad()
def spsa_gradient(
    loss: Callable[[Tensor], Tensor],
    images: Tensor,
    *,
    samples: int,
    delta: float,
    generator: torch.Generator,
) -> Tensor:
    r"""Gradient of ``loss`` by simultaneous perturbation (Spall 1992; Uesato et al. 2018, algorithm 1).

    .. math:: \hat g = \frac{1}{S} \sum_{s=1}^{S} \frac{L(x + \delta v_s) - L(x - \delta v_s)}{2 \delta}\, v_s

    with Rademacher directions :math:`v_s \in \{-1, 1\}^{C \times H \times W}`, the same for all images of a
    batch, so that an image's estimate is independent of the rest of the batch. Probes are clipped to [0, 1]
    and the quotient is taken over the distance that remains of :math:`2 \delta`: the mean is still the
    gradient of a linear loss. A pair of probes of which one has a loss that is not finite is left out.

    Args:
        loss: images ``[M, C, H, W]`` to one value each, ``[M]``; called ``2 * samples`` times with as many
            images as given and in their order, so that memory does not grow with ``samples``.
        images: ``[M, C, H, W]`` floats in [0, 1].
        samples: directions averaged, S; the error falls with their square root and grows with that of the
            number of pixels.
        delta: probe size in pixel units, in (0, 1]; more than the grain of the loss: a spiking network's is a
            staircase.
        generator: generator of the directions, on any device.

    Returns:
        The estimate, of the shape and type of ``images``.

    Raises:
        InputError: images are not of that form, or a setting is out of range.

    Example:
        >>> images, draws = torch.full((1, 1, 1, 1), 0.5), torch.Generator().manual_seed(0)
        >>> spsa_gradient(lambda x: x.flatten() ** 2, images, samples=1, delta=0.25, generator=draws).item()
        1.0
    """
    check_images(images)
    samples = check_steps(samples, name="samples")
    delta = parse_probe(delta)
    exact = torch.promote_types(images.dtype, torch.float32)
    upper, lower = (images + delta).clamp(max=1), (images - delta).clamp(min=0)
    total = torch.zeros_like(images, dtype=exact)
    used = total.new_zeros((len(images), 1, 1, 1))
    for _ in range(samples):
        bits = torch.randint(2, images.shape[1:], generator=generator, device=generator.device)
        up = bits.to(images.device).bool()
        ahead, behind = torch.where(up, upper, lower), torch.where(up, lower, upper)
        rise = (loss(ahead).to(exact) - loss(behind).to(exact)).view(-1, 1, 1, 1)
        usable = rise.isfinite()
        total += torch.where(usable, rise, 0) * torch.where(up, 1.0, -1.0).to(exact)
        used += usable
    # the distance between the probes as they were rounded and clipped
    gap = upper.to(exact) - lower.to(exact)
    return torch.where(gap > 0, total / (used.clamp(min=1) * gap), 0).to(images.dtype)
