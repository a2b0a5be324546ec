"""A stochastic model with its random numbers known: the same ones for every image, in every pass."""

import torch
from torch import Tensor, nn

from purespike.seeding import seeded


class KnownDraws(nn.Module):
    """``model`` as one sees it who knows the random numbers that it will draw.

    Every image passes alone, from the same state of the global generators (of torch, NumPy and Python), so
    that it meets the same numbers whichever images are beside it. A model with a private generator stays
    stochastic.

    Args:
        model: images to logits.
        seed: the seed that is known.
    """

    def __init__(self, model: nn.Module, seed: int = 0) -> None:
        super().__init__()
        self.model, self.seed = model, seed

    def forward(self, images: Tensor) -> Tensor:
        outputs = []
        for image in images.split(1):
            with seeded(self.seed, "known draws", device=images.device):
                outputs.append(self.model(image))
        return torch.cat(outputs)
