"""Weights of residual and shortcut that stay on the probability simplex."""

import torch
from torch import Tensor, nn

from purespike.errors import InputError
from purespike.models.layers import ConvexPair
from purespike.training.objectives.registry import Projection, Stage, projection


@projection("convex")
class Convex(Projection):
    r"""The nearest point of the simplex for each pair of weights that joins a residual and its shortcut.

    .. math:: w \leftarrow \arg\min_{v \ge 0,\ \sum_i v_i = 1} \|v - w\|

    SNN-RAT (Ding et al. 2022) projects so after each step of SGD. Of the networks here ``wideresnet16_4_snn``
    has such pairs (:class:`~purespike.models.layers.ConvexPair`).
    """

    def prepare(self, stage: Stage) -> None:
        if not _pairs(stage.model):
            raise InputError(
                f"{stage.name}.objective: convex: the network joins no residual and shortcut by a learnable "
                "pair of weights, as wideresnet16_4_snn does; leave convex out"
            )

    def __call__(self, model: nn.Module) -> None:
        for pair in _pairs(model):
            pair.weights.copy_(simplex(pair.weights))


def simplex(weights: Tensor) -> Tensor:
    """The nearest point of the probability simplex to ``weights``, ``[n]`` (Held et al. 1974)."""
    largest = weights.sort(descending=True).values
    counts = torch.arange(1, len(weights) + 1, device=weights.device)
    # what the k largest exceed 1 by, shared among them; the k that stay positive share the most
    excess = ((largest.cumsum(0) - 1) / counts).max()
    return (weights - excess).clamp(min=0)


def _pairs(model: nn.Module) -> list[ConvexPair]:
    return [module for module in model.modules() if isinstance(module, ConvexPair)]
