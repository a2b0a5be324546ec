"""The L0 ball."""

from dataclasses import dataclass

import torch
from torch import Tensor

from purespike.ball.base import Ball, parse_length
from purespike.budget import parse_count
from purespike.seeding import ImageDraws


@dataclass(frozen=True)
class L0(Ball):
    """``size`` pixels of an image may become any value in [0, 1], each channel by itself.

    The threat model of binary event frames, whose pixels are flipped. Offsets of norm 1 are scaled to no
    other: points of the ball are made by :meth:`point` and :meth:`sample`, which turn pixels to their far
    end.

    Example:
        >>> clean = torch.tensor([0.0, 1.0, 0.0]).view(1, 1, 1, 3)
        >>> L0(1).project(torch.tensor([0.5, 0.1, 1.0]).view(1, 1, 1, 3), clean).flatten().tolist()
        [0.0, 1.0, 1.0]
    """

    norm = "l0"
    title = "L0"
    order = 0.0
    rules = ("flips", "flips_add", "flips_remove")

    @classmethod
    def parse_size(cls, eps: float | str) -> float:
        return parse_count(eps)

    @classmethod
    def parse_step(cls, step_size: float | str) -> float:
        return parse_length(step_size, "in L0 it must be a positive number of pixels")

    @property
    def stride(self) -> float:
        return 2.5 * self.size

    def per_pixel(self, pixels: int) -> float:
        return 1.0

    def lengths(self, offset: Tensor) -> Tensor:
        return (offset != 0).sum((1, 2, 3), keepdim=True).to(offset.dtype)

    def unit(self, noise: Tensor) -> Tensor:
        return self._largest(noise, noise.abs(), 1)

    def boundary(self, shape: torch.Size, draw: torch.Generator) -> Tensor:
        noise = 2 * torch.rand(shape, generator=draw, dtype=torch.float32) - 1
        return self.unit(noise).sign()

    def interior(self, shape: torch.Size, draw: torch.Generator, *, share: float = 1.0) -> Tensor:
        return share * self.boundary(shape, draw)

    def point(
        self, clean: Tensor, draw: torch.Generator, *, share: float = 1.0, corner: bool = False
    ) -> Tensor:
        return self._turned(clean, torch.rand(clean.shape, generator=draw, dtype=torch.float32), share)

    def sample(self, clean: Tensor, *, seed: int) -> Tensor:
        return self._turned(clean, ImageDraws(clean, seed, "start").uniform(0, 1, clean.shape[1:]))

    def _turned(self, clean: Tensor, places: Tensor, share: float = 1.0) -> Tensor:
        """``clean`` with the pixels of the largest ``places`` at the far end of their range."""
        far = (clean < 0.5).to(clean)
        count = max(1, round(share * self.size))
        return torch.where(self._largest(places, places, count).to(clean.device) > 0, far, clean)

    def steepest(self, direction: Tensor) -> Tensor:
        return self._largest(direction, direction.abs(), 1).sign()

    def _inside(self, points: Tensor, centre: Tensor) -> Tensor:
        moved = points.clamp(0, 1) - centre
        return torch.where(
            self._largest(moved, moved.abs(), round(self.size)) != 0, points.clamp(0, 1), centre
        )

    @staticmethod
    def _largest(values: Tensor, sizes: Tensor, count: int) -> Tensor:
        """``values`` where their ``sizes`` are among the ``count`` largest of an image, else 0."""
        flat = sizes.flatten(1)
        chosen = flat.topk(min(count, flat.shape[1]), dim=1).indices
        kept = torch.zeros_like(flat, dtype=torch.bool).scatter_(1, chosen, True).view_as(values)
        return torch.where(kept, values, torch.zeros_like(values))
