"""The optimiser's steps on one batch, and the means of an epoch over them."""

import math

import torch
from accelerate.optimizer import AcceleratedOptimizer
from torch import Tensor

from purespike.errors import InputError
from purespike.seeding import seeded
from purespike.tensors import first_not_finite
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

    def check(self, stage: Stage, place: str) -> None:
        """Stop a training whose loss is not finite: no later step makes it finite again.

        Args:
            stage: the stage, for the message.
            place: epoch and batch, for the message.

        Raises:
            InputError: the loss, summed over the epoch so far, is NaN or infinite.
        """
        loss = self.loss().item()
        if not math.isfinite(loss):
            raise diverged(stage, f"the loss is {loss} in {place}")

    def losses(self) -> dict[str, float]:
        """Mean loss, and the means of its terms by name."""
        return {name: total.item() / count for name, (total, count) in self._losses.items()}

    def shares(self) -> dict[str, float]:
        """Shares of the images that were classified correctly, by name."""
        return {name: total.item() / count for name, (total, count) in self._right.items()}


def diverged(stage: Stage, what: str) -> InputError:
    """The error of a training whose numbers are no longer finite."""
    return InputError(
        f"{stage.name}: training diverged: {what}; lower {stage.name}.learning_rate "
        f"({stage.recipe.learning_rate:g}); the last good epoch is in "
        f"{stage.folder / 'checkpoint' / f'{stage.name}.safetensors'}"
    )


def check_epoch(stage: Stage, tally: Tally, epoch: int) -> None:
    """Check that loss, weights and statistics are finite, before they replace those of the last good epoch.

    Raises:
        InputError: a loss or a tensor is not finite; in every process, if in any.
    """
    # gradients are averaged, so that weights are the same everywhere; losses are not
    worst = stage.accelerator.reduce(tally.loss(), reduction="sum").item()
    if not math.isfinite(worst):
        raise diverged(stage, f"the loss is {worst} in epoch {epoch}")
    if name := first_not_finite(stage.trained.state_dict()):
        raise diverged(stage, f"{name} is not finite")


def take_steps(
    objective: Composition,
    batch: Batch,
    optimiser: AcceleratedOptimizer,
    stage: Stage,
    *,
    number: int,
    tally: Tally,
) -> None:
    """Make every step that ``objective`` asks for on a batch: gradient, step, projection, average.

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

    Raises:
        InputError: the loss is not finite.
    """
    accelerator, place = stage.accelerator, (stage.seed, stage.name, "step", batch.epoch, number)
    with seeded(*place, "process", accelerator.process_index, device=accelerator.device):
        for index, step in enumerate(objective.steps(batch)):
            optimiser.zero_grad()
            accelerator.backward(step.loss)
            if stage.recipe.clip is not None:
                accelerator.clip_grad_norm_(stage.trained.parameters(), stage.recipe.clip)
            optimiser.step()
            objective.project(stage.model, *place, index, device=accelerator.device)
            if stage.average is not None:
                stage.average.update_parameters(stage.trained)
            tally.add(step, len(batch.images))
    # several processes must stop together, and a GPU runs ahead: there the epoch's end tells
    if accelerator.num_processes == 1 and (accelerator.device.type == "cpu" or number % 50 == 0):
        tally.check(stage, f"epoch {batch.epoch}, batch {number + 1}")
    tally.seen += len(batch.images)
