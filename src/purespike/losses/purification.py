"""The purifier's losses (paper, section 4.3), as means over pixels: image size does not change them."""

from typing import NamedTuple

import torch
from torch import Tensor

from purespike.errors import InputError
from purespike.losses.noise_level import true_noise_level


def charbonnier(restored: Tensor, clean: Tensor, *, c: float = 1e-3) -> Tensor:
    r"""Smooth absolute error (paper eq. 7, first line; the root is taken per pixel).

    .. math:: \frac{1}{s}\sum_i \sqrt{(\hat x_i - x_i)^2 + c^2}

    Args:
        restored: purified images, ``[N, C, H, W]``.
        clean: images that they should equal, same shape.
        c: error below which the absolute value turns into a parabola, > 0.

    Raises:
        InputError: shapes differ, or ``c`` is not positive.
    """
    _same_shape(restored, clean)
    if not c > 0:
        raise InputError(f"c: must be positive, got {c}")
    return ((restored - clean).square() + c * c).sqrt().mean()


def reconstruction(restored: Tensor, clean: Tensor, *, beta: float = 0.5, c: float = 1e-3) -> Tensor:
    r"""Blend of smooth absolute and squared error (paper eq. 7, second line).

    .. math:: \beta\,L_{Charbonnier} + \frac{1-\beta}{s}\,\|\hat x - x\|_2^2

    Args:
        restored: purified images, ``[N, C, H, W]``.
        clean: images that they should equal, same shape.
        beta: weight of the smooth absolute error, in [0, 1]; 1 gives :func:`charbonnier` alone.
        c: setting of :func:`charbonnier`.

    Raises:
        InputError: shapes differ, or ``beta`` is outside [0, 1].
    """
    if not 0 <= beta <= 1:
        raise InputError(f"beta: must lie in [0, 1], got {beta}")
    absolute = charbonnier(restored, clean, c=c)
    return absolute if beta == 1 else beta * absolute + (1 - beta) * (restored - clean).square().mean()


def beta_schedule(epoch: int, *, beta: float, switch_epoch: int) -> float:
    """The ℓ1-then-ℓ2 schedule: 1 (eq. 7, first line) before ``switch_epoch``, then ``beta`` (second line).

    Args:
        epoch: counted from 1.
        beta: blend after the switch; the paper leaves it open.
        switch_epoch: first epoch that blends; the paper leaves it open.
    """
    return 1.0 if epoch < switch_epoch else beta


def asymmetric(estimated: Tensor, true: Tensor, *, gamma: float = 0.3) -> Tensor:
    r"""Squared error of a noise level that punishes underestimates more (paper eq. 8, as in CBDNet).

    .. math:: \frac{1}{s}\sum_i |\gamma - \mathbb{1}[\hat\sigma_i < \sigma_i]|\,(\hat\sigma_i - \sigma_i)^2

    Args:
        estimated: the estimator's noise level, ``[N, C, H, W]``, in pixel units.
        true: true noise level, same shape.
        gamma: weight of overestimates, ``0 < gamma < 0.5``; underestimates weigh ``1 - gamma``.

    Raises:
        InputError: shapes differ, or ``gamma`` is outside (0, 0.5).
    """
    _same_shape(estimated, true)
    if not 0 < gamma < 0.5:
        raise InputError(f"gamma: must lie in (0, 0.5), got {gamma}")
    error = estimated - true
    squared = error.square()
    # weights as scalars: a tensor of them would be float32 whatever the error's type
    return torch.where(error < 0, (1 - gamma) * squared, gamma * squared).mean()


def total_variation(noise_level: Tensor) -> Tensor:
    r"""Squared differences of neighbouring pixels (paper eq. 9), each direction averaged over its pairs.

    .. math:: \|\nabla_h \hat\sigma\|_2^2 + \|\nabla_v \hat\sigma\|_2^2

    Args:
        noise_level: ``[N, C, H, W]``; a direction of one pixel contributes zero.
    """
    horizontal = noise_level.diff(dim=-1).square()
    vertical = noise_level.diff(dim=-2).square()
    return sum((part.mean() for part in (horizontal, vertical) if part.numel()), noise_level.sum() * 0)


class PurificationLoss(NamedTuple):
    """The terms of eq. 10, each a scalar; training minimises ``total``."""

    total: Tensor
    reconstruction: Tensor
    asymmetric: Tensor
    total_variation: Tensor


def purification_loss(
    restored: Tensor,
    noise_level: Tensor,
    clean: Tensor,
    adversarial: Tensor,
    *,
    beta: float = 1.0,
    asymmetric_weight: float = 0.5,
    variation_weight: float = 0.05,
    gamma: float = 0.3,
    level: str = "absolute",
) -> PurificationLoss:
    r"""The whole objective (paper eq. 10): :math:`L_{Rec} + \lambda_{asym} L_{asym} + \lambda_{TV} L_{TV}`.

    The true noise level is read as \|x' - x\| per pixel and channel unless ``level`` says otherwise; the
    paper leaves σ(n) undefined.

    Args:
        restored: purified images, ``[N, C, H, W]``.
        noise_level: the estimator's output, same shape.
        clean: images before the attack, same shape.
        adversarial: images after it, same shape.
        beta: see :func:`beta_schedule`.
        asymmetric_weight: λ_asym; CBDNet's 0.5 where the paper gives none.
        variation_weight: λ_TV; CBDNet's 0.05.
        gamma: see :func:`asymmetric`.
        level: the reading of σ(n), see :func:`~purespike.losses.noise_level.true_noise_level`.

    Raises:
        InputError: an argument that one of the terms refuses.
    """
    _same_shape(adversarial, clean)
    terms = (
        reconstruction(restored, clean, beta=beta),
        asymmetric(noise_level, true_noise_level(adversarial - clean, level=level), gamma=gamma),
        total_variation(noise_level),
    )
    return PurificationLoss(terms[0] + asymmetric_weight * terms[1] + variation_weight * terms[2], *terms)


def _same_shape(a: Tensor, b: Tensor) -> None:
    if a.shape != b.shape:
        raise InputError(f"loss: shapes differ, {list(a.shape)} and {list(b.shape)}")
