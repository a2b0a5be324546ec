"""The L2 ball."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from purespike.ball.base import Ball, exact, parse_length, rounded_to, safe_divide
from purespike.budget import parse_radius
from purespike.seeding import ImageDraws

_SMALLEST = 1e-12


@dataclass(frozen=True)
class L2(Ball):
    """An image may move by a Euclidean length of ``size``, any positive number.

    Example:
        >>> print(Ball.parse("128/255", "l2"))
        L2 eps 128/255
    """

    norm = "l2"
    title = "L2"
    order = 2.0

    @classmethod
    def parse_size(cls, eps: float | str) -> float:
        return parse_radius(eps)

    @classmethod
    def parse_step(cls, step_size: float | str) -> float:
        words = "in L2 it must be a positive number or a fraction such as 64/255, in pixel units"
        return parse_length(step_size, words)

    @property
    def stride(self) -> float:
        # Madry et al. 2018: an iterate can cross the ball
        return 2.5 * self.size

    def per_pixel(self, pixels: int) -> float:
        return self.size / math.sqrt(pixels)

    def lengths(self, offset: Tensor) -> Tensor:
        return torch.linalg.vector_norm(offset, dim=(1, 2, 3), keepdim=True)

    def unit(self, noise: Tensor) -> Tensor:
        return noise / self.lengths(noise).clamp(min=_SMALLEST)

    def boundary(self, shape: torch.Size, draw: torch.Generator) -> Tensor:
        return self.unit(torch.randn(shape, generator=draw))

    def interior(self, shape: torch.Size, draw: torch.Generator, *, share: float = 1.0) -> Tensor:
        directions = self.boundary(shape, draw)
        radii = torch.rand((shape[0], 1, 1, 1), generator=draw, dtype=torch.float32) ** (
            1 / shape[1:].numel()
        )
        return directions * (share * radii)

    def sample(self, clean: Tensor, *, seed: int) -> Tensor:
        # a normal draw for the direction, and the radius size · U^(1/d) of d pixels
        draws = ImageDraws(clean, seed, "start")
        noise = draws.normal(clean.shape[1:])
        shares = draws.uniform(0, 1, (1, 1, 1)) ** (1 / clean.shape[1:].numel())
        offset = self.steepest(noise) * self.size * shares
        return rounded_to(self._moved(offset.to(clean.device), exact(clean)), clean)

    def steepest(self, direction: Tensor) -> Tensor:
        # first by the largest pixel: the squares of a small gradient vanish
        scaled = safe_divide(direction, direction.abs().amax((1, 2, 3), keepdim=True))
        return safe_divide(scaled, self.lengths(scaled))

    def _inside(self, points: Tensor, centre: Tensor) -> Tensor:
        return self._moved(points - centre, centre)

    def _moved(self, offset: Tensor, centre: Tensor) -> Tensor:
        shortened = offset * (self.size / self.lengths(offset).clamp(min=self.size))
        moved = (centre + shortened).clamp(0, 1)
        # the sum is rounded, and may leave a small ball: one step of the grid brings it back
        return torch.where(self.lengths(moved - centre) > self.size, torch.nextafter(moved, centre), moved)
