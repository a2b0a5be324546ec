"""A moving average of the weights, which is what is kept in the end where a recipe asks for one."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from purespike.recipe import Training


class Averaged(AveragedModel):
    """Exponential moving average of the parameters and buffers of a model.

    Args:
        model: the model being trained, not wrapped.
        decay: share of the average that a step keeps, in (0, 1). Early steps keep (1 + n) / (10 + n) after n
            steps if that is less, so that the initial weights are soon forgotten.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        def move(averages: Sequence[Tensor], values: Sequence[Tensor], steps: Tensor | int) -> None:
            kept = min(decay, (1 + int(steps)) / (10 + int(steps)))
            for average, value in zip(averages, values, strict=True):
                if average.is_floating_point():
                    average.lerp_(value, 1 - kept)
                else:
                    average.copy_(value)

        super().__init__(model, multi_avg_fn=torch.no_grad()(move), use_buffers=True)


def averaged(model: nn.Module, recipe: Training) -> Averaged | None:
    """The average of ``model`` that ``recipe`` asks for, if any."""
    return Averaged(model, recipe.average) if recipe.average else None


def keep_average(average: Averaged | None, model: nn.Module) -> None:
    """Give ``model`` the averaged weights, if there are any."""
    if average is not None:
        model.load_state_dict(average.module.state_dict())
