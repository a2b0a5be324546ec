"""Stochastic models: the part that draws, and a model whose random numbers are known."""

import torch
from torch import Tensor, nn

from purespike.models.coding import Poisson, SignedPoisson
from purespike.models.purifier import Purifier
from purespike.neurons import Gates, SpikingNeuron
from purespike.seeding import seeded


def drawing_part(model: nn.Module) -> str:
    """The first part of ``model`` that draws random numbers when it answers, in words; empty if none does."""
    for name, part in model.named_modules():
        place = f"{name or 'the model'}: "
        if isinstance(part, Purifier) and part.noise:
            return f"{place}a purifier that adds noise ({part.noise:g})"
        if isinstance(part, Gates):
            return f"{place}stochastic gates"
        if isinstance(coding := getattr(part, "coding", None), Poisson | SignedPoisson):
            return f"{place}coding {coding.name}"
        if isinstance(part, SpikingNeuron) and part.dynamics.drawn(torch.zeros(1, 1, 1), part.training):
            return f"{place}dynamics {part.dynamics.name}"
    return ""


def votes(model: nn.Module) -> bool:
    """Whether a purifier of ours in ``model`` votes over several noisy passes."""
    return any(isinstance(part, Purifier) and part.noise and part.passes > 1 for part in model.modules())


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
