"""The prior of stochastic gates, which closes them (StoG)."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from purespike.errors import InputError
from purespike.neurons import Gates
from purespike.training.objectives.batch import Batch, View
from purespike.training.objectives.registry import Penalty, Stage, penalty


@penalty("gate_prior")
@dataclass(frozen=True, kw_only=True)
class GatePrior(Penalty):
    r"""Half the squared norm of the q of all gates (StoG; Ding et al., AAAI 2024).

    .. math:: \tfrac{1}{2}\sum_i q_i^2

    The source weighs it with 5e-6 and adds it in the first half of the training, after which the gates are
    frozen: no gradient of the loss reaches them either, and what is left of the momentum dies away. Their
    optimiser is best a group of its own, ``{pattern: gates, weight_decay: 0}``.

    Args:
        until: share of the training after which the gates are frozen.
        faithful: whether the prior alone moves q. The authors' code has the derivative of its relaxed gates
            with the wrong sign and a factor that is infinite at p = 1, where that of the clip, 0, hides it:
            what the loss says of a gate hardly counts. Only to reproduce their figures.
    """

    until: Annotated[float, Field(gt=0, le=1)] = 0.5
    faithful: bool = False

    def prepare(self, stage: Stage) -> None:
        if not any(_gates(stage.model)):
            raise InputError(
                f"{stage.name}.objective: gate_prior: the network has no gates; set classifier.gates"
            )

    def further(self, batch: Batch, images: Tensor) -> None:
        # before the forward, so that a resumed run agrees
        for gates in _gates(batch.network):
            gates.frozen = self.faithful or batch.progress >= self.until

    def __call__(self, view: View) -> Tensor:
        found = [gates.probability.square().sum() for gates in _gates(view.batch.network)]
        total = 0.5 * torch.stack(found).sum()
        return torch.zeros_like(total) if view.batch.progress >= self.until else total


def _gates(model: nn.Module) -> Iterator[Gates]:
    return (module for module in model.modules() if isinstance(module, Gates))
