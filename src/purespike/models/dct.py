"""DCT coding: one frequency of every image block at each step (Garg, Chowdhury & Roy, ICCV 2021)."""

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from purespike.errors import InputError
from purespike.models.coding import Coding
from purespike.scalars import check_whole

# luma and chroma of JPEG, without its offset of half the range
YCBCR = (
    (0.299, 0.587, 0.114),
    (-0.168735892, -0.331264108, 0.5),
    (0.5, -0.418687589, -0.081312411),
)


@dataclass(frozen=True)
class DCT(Coding):
    r"""Blocks of the image, of which each step shows one component of the discrete cosine transform.

    .. math:: D = Q B Q^\top, \quad g[t] = D_{mn}\, q_m q_n^\top, \quad \sum_{t} g[t] = B

    B is a block of the image, scaled to [-1, 1] and of colour images in YCbCr; Q is the orthonormal DCT-II
    and (m, n) the t-th place of the zigzag from the mean to the finest pattern, over and over again. Blocks
    overlap where ``stride`` is less than ``block``, and lie side by side in the frame: with stride 2 a
    32×32 image becomes frames of 60×60, with stride 4 of 32×32. Fewer steps than block² leave the finest
    components out.

    With ``spikes`` an integrate-and-fire encoder turns the components into frames of -1, 0 and 1:

    .. math:: a \leftarrow a + g[t], \quad o[t] = [a > \theta^+] - [a < \theta^-], \quad
        a \leftarrow a - \theta^{\pm} |o[t]|

    A step function has no derivative: that of o[t] with respect to g[t] is taken to be
    :math:`2 / (\theta^+ - \theta^-)`, the rate of spikes (straight-through estimator), so an attack goes
    through the transform as without spikes. The authors assign spikes by comparison, whose gradient is
    exactly 0 everywhere.

    The thresholds are the authors' percentiles 6.5 and 93.5 of g, which they take from each batch, so that a
    prediction depends on its neighbours; here they are constants, by default those of 2,000 training images
    of CIFAR-10 in blocks of 4 every 2 pixels. The authors add JPEG's offset of 128 to chroma in [-1, 1];
    here there is none.

    Args:
        block: height and width of a block in pixels.
        stride: pixels from block to block, at most ``block``.
        spikes: whether the frames are spikes, or the components themselves.
        low: θ⁻, negative.
        high: θ⁺, positive.
        faithful: whether the thresholds are those of the batch, as the authors'. Only to reproduce their
            figures.
    """

    normalised: ClassVar[bool] = False

    block: int = 4
    stride: int = 2
    spikes: bool = True
    low: float = -0.033
    high: float = 0.029
    faithful: bool = False

    def __post_init__(self) -> None:
        for key in ("block", "stride"):
            value = check_whole(getattr(self, key), name=f"coding dct: {key}", least=1)
            object.__setattr__(self, key, value)
        self.check("stride", least=1, most=self.block)
        self.check("low", least=-math.inf, most=0)
        self.check("high", positive=True)
        if self.low == 0:
            raise InputError("coding dct: low must be negative, got 0")

    def encode(self, images: Tensor, time_steps: int) -> Tensor:
        rows, columns = (self._count(size, images) for size in images.shape[2:])
        pixels = functional.unfold(_colours(images), self.block, stride=self.stride)
        pixels = pixels.unflatten(1, (-1, self.block**2))
        basis = self._basis().to(images)
        coefficients = basis @ pixels
        steps = [_side_by_side(coefficients, basis, t % len(basis), rows, columns) for t in range(time_steps)]
        if not self.spikes:
            return torch.cat(steps)
        components = torch.stack(steps)
        low, high = _percentiles(components[: len(basis)]) if self.faithful else (self.low, self.high)
        spikes: Tensor = _Spikes.apply(components, low, high)
        return spikes.flatten(0, 1)

    def _count(self, size: int, images: Tensor) -> int:
        """Number of blocks along one side of an image."""
        count, left = divmod(size - self.block, self.stride)
        if count < 0 or left:
            raise InputError(
                f"coding dct: blocks of {self.block} pixels every {self.stride} do not cover images of "
                f"{images.shape[2]}×{images.shape[3]}; pad them, or take another block and stride"
            )
        return count + 1

    def _basis(self) -> Tensor:
        """Patterns :math:`q_m q_n^\\top` as rows, in the order of the zigzag, ``[block², block²]``."""
        size = self.block
        place = torch.arange(size, dtype=torch.float64)
        q = (math.pi / size * place[:, None] * (place + 0.5)).cos() * math.sqrt(2 / size)
        q[0] /= math.sqrt(2)
        return torch.stack([torch.outer(q[m], q[n]).flatten() for m, n in zigzag(size)])


def zigzag(size: int) -> list[tuple[int, int]]:
    """Rows and columns of a square in the order of JPEG: along diagonals, turning at each border.

    Example:
        >>> zigzag(3)
        [(0, 0), (0, 1), (1, 0), (2, 0), (1, 1), (0, 2), (1, 2), (2, 1), (2, 2)]
    """
    places = [(m, n) for m in range(size) for n in range(size)]
    return sorted(places, key=lambda place: (sum(place), place[0] if sum(place) % 2 else place[1]))


def _colours(images: Tensor) -> Tensor:
    scaled = 2 * images - 1
    if images.shape[1] != 3:
        return scaled
    return torch.einsum("yc,nchw->nyhw", torch.tensor(YCBCR).to(scaled), scaled)


def _side_by_side(coefficients: Tensor, basis: Tensor, place: int, rows: int, columns: int) -> Tensor:
    """One component of every block as an image: ``[N, C, block², L]`` to ``[N, C, rows·b, columns·b]``."""
    blocks = coefficients[:, :, place, None] * basis[place][:, None]
    size = math.isqrt(len(basis))
    blocks = blocks.unflatten(2, (size, size)).unflatten(4, (rows, columns))
    # [N, C, b, b, rows, columns]
    return blocks.permute(0, 1, 4, 2, 5, 3).flatten(4, 5).flatten(2, 3)


def _percentiles(values: Tensor) -> tuple[float, float]:
    flat = values.detach().flatten()
    # not torch.quantile, which takes 16 million values at most
    low, high = (flat.kthvalue(max(1, round(share * len(flat)))).values.item() for share in (0.065, 0.935))
    return low, high


class _Spikes(torch.autograd.Function):
    """Signed integrate-and-fire over the first dimension."""

    @staticmethod
    def forward(ctx: Any, steps: Tensor, low: float, high: float) -> Tensor:
        ctx.rate = 2 / (high - low)
        membrane = torch.zeros_like(steps[0])
        spikes = []
        for step in steps:
            membrane = membrane + step
            up, down = (membrane > high).to(step), (membrane < low).to(step)
            membrane = membrane - high * up - low * down
            spikes.append(up - down)
        return torch.stack(spikes)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        return gradient * ctx.rate, None, None
