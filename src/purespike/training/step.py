"""The optimiser's steps on one batch, and the means of an epoch over them."""

import torch
from accelerate.optimizer import AcceleratedOptimizer
from torch import Tensor

from purespike.seeding import seeded
from purespike.training.objectives import Batch, Composition, Stage, Step


class Tally:
    """Sums over the steps of an epoch on this process, fetched from the device at its end alone.

    ``seen`` counts images, ``passes`` forward and backward passes of an image.
    """

    def __init__(self) -> None:
        self.seen = self.passes = 0
        self._losses: dict[str, tuple[Tensor, int]] = {}
        self._right: dict[str, tuple[Tensor, int]] = {}

    def add(self, step: Step, images: int) -> None:
        """Add a step on so many images."""
        self.passes += step.passes * images
        for sums, values, weight in (
            (self._losses, {"loss": step.loss.detach(), **step.terms}, images),
            (self._right, step.right, 1),
        ):
            for name, value in values.items():
                total, count = sums.get(name, (torch.zeros_like(value), 0))
                sums[name] = total + value * weight, count + images

    def loss(self) -> Tensor:
        """Mean loss so far, still on its device."""
        total, count = self._losses["loss"]
        return total / count

    def losses(self) -> dict[str, float]:
        """Mean loss, and the means of its terms by name."""
        return {name: total.item() / count for name, (total, count) in self._losses.items()}

    def shares(self) -> dict[str, float]:
        """Shares of the images that were classified correctly, by name."""
        return {name: total.item() / count for name, (total, count) in self._right.items()}


def take_steps(
    objective: Composition,
    batch: Batch,
    optimiser: AcceleratedOptimizer,
    stage: Stage,
    *,
    number: int,
    tally: Tally,
) -> None:
    """Make every step that ``objective`` asks for on a batch: gradient, step, projection.

    A stochastic model or loss draws from the global generators, which start from a stream of their own for
    seed, stage, epoch, batch and process; projections from one that all processes share. So a resumed run
    draws what one that was never stopped draws.

    Args:
        objective: the objective of the stage.
        batch: the batch of this process.
        optimiser: the optimiser, as Accelerate wraps it.
        stage: the stage, with the model that is not wrapped.
        number: number of the batch in its epoch, from 0.
        tally: sums of the epoch.
    """
    accelerator, place = stage.accelerator, (stage.seed, stage.name, "step", batch.epoch, number)
    with seeded(*place, "process", accelerator.process_index, device=accelerator.device):
        for index, step in enumerate(objective.steps(batch)):
            optimiser.zero_grad()
            accelerator.backward(step.loss)
            optimiser.step()
            objective.project(stage.model, *place, index, device=accelerator.device)
            tally.add(step, len(batch.images))
    tally.seen += len(batch.images)
