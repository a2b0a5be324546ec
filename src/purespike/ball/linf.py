"""The L∞ ball."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from purespike.ball.base import Ball
from purespike.budget import parse_eps
from purespike.seeding import ImageDraws


@dataclass(frozen=True)
class Linf(Ball):
    """Every pixel may change by ``size``, in [0, 1].

    Example:
        >>> str(Linf(8 / 255)), Ball.parse("8/255") == Linf(8 / 255)
        ('L∞ eps 8/255', True)
    """

    norm = "linf"
    title = "L∞"
    order = math.inf
    rules = ("steepest", "adaptive")

    @classmethod
    def parse_size(cls, eps: float | str) -> float:
        return parse_eps(eps)

    @classmethod
    def parse_step(cls, step_size: float | str) -> float:
        return parse_eps(step_size, name="step_size")

    @property
    def stride(self) -> float:
        return self.size

    def per_pixel(self, pixels: int) -> float:
        return self.size

    def lengths(self, offset: Tensor) -> Tensor:
        return torch.linalg.vector_norm(offset, torch.inf, dim=(1, 2, 3), keepdim=True)

    def unit(self, noise: Tensor) -> Tensor:
        return noise

    def boundary(self, shape: torch.Size, draw: torch.Generator) -> Tensor:
        return self.interior(shape, draw).sign()

    def interior(self, shape: torch.Size, draw: torch.Generator, *, share: float = 1.0) -> Tensor:
        return share * (2 * torch.rand(shape, generator=draw, dtype=torch.float32) - 1)

    def sample(self, clean: Tensor, *, seed: int) -> Tensor:
        noise = ImageDraws(clean, seed, "start").uniform(-self.size, self.size, clean.shape[1:])
        return self.project(clean + noise.to(clean), clean)

    def steepest(self, direction: Tensor) -> Tensor:
        return direction.sign()

    def _inside(self, points: Tensor, centre: Tensor) -> Tensor:
        return points.clamp(centre - self.size, centre + self.size).clamp(0, 1)
