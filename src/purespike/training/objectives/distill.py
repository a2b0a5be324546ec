"""Defensive distillation: large logits, whose cross-entropy has no gradient left. A control, no defence."""

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from purespike.data import Data
from purespike.errors import InputError
from purespike.seeding import derive
from purespike.training.objectives.batch import Batch, Step, count_correct
from purespike.training.objectives.registry import Objective, Stage, objective

Temperature = Annotated[float, Field(gt=0, allow_inf_nan=False)]


@objective("tempered")
def tempered(batch: Batch, *, temperature: Temperature = 20.0) -> Step:
    r"""The criterion of logits over a temperature.

    .. math:: L(f(x) / \tau, y)

    Args:
        batch: the batch.
        temperature: τ.
    """
    (view,) = batch.forward(batch.images)
    right = {"accuracy": count_correct(view.logits, batch.labels)}
    return Step(batch.criterion(view.logits / temperature, batch.labels), right)


@objective("distill")
class Distill(Objective):
    r"""Defensive distillation (Papernot et al. 2016, arXiv 1511.04508).

    .. math:: CE\big(\mathrm{softmax}(t(x) / \tau),\ f(x) / \tau\big)

    The teacher t is a network of the same recipe, trained before with ``tempered`` in place of this; it is
    kept in the folder ``teacher`` of the run, with a history and a seed of its own. It sees the augmented
    images of each batch. The student is judged at τ = 1: logits that fit at τ are τ times too large there,
    so that the softmax is exactly one and the cross-entropy hides its gradient. Dividing the logits, or the
    margin loss, breaks it (Carlini & Wagner 2016, arXiv 1607.04311).

    Args:
        temperature: τ, 20 in the source.
    """

    trains = True

    def __init__(self, *, temperature: Temperature = 20.0) -> None:
        self.temperature = temperature
        self.teacher: nn.Module

    def prepare(self, stage: Stage) -> None:
        # the loop that trains by objectives cannot be imported where they are defined
        from purespike.training.classifier import train_classifier

        if stage.recipe.smoothing != "none":
            raise InputError("distill: its labels are the teacher's predictions; leave out smoothing")
        own = {"name": "tempered", "temperature": self.temperature}
        parts = [own if part["name"] == "distill" else part for part in stage.recipe.objective]
        test = stage.data if stage.test is None else stage.test
        self.teacher = train_classifier(
            stage.recipe.model_copy(update={"objective": tuple(parts)}),
            Data(stage.data.name, stage.data, test),
            folder=stage.folder / "teacher",
            seed=derive(stage.seed, "teacher"),
            accelerator=stage.accelerator,
        ).requires_grad_(False)

    def restore(self, stage: Stage, state: dict[str, Tensor]) -> None:
        # a teacher that is trained to its end is read back
        self.prepare(stage)

    def __call__(self, batch: Batch) -> Step:
        with torch.no_grad():
            target = (self.teacher(batch.images) / self.temperature).softmax(1)
        (view,) = batch.forward(batch.images)
        right = {"accuracy": count_correct(view.logits, batch.labels)}
        return Step(functional.cross_entropy(view.logits / self.temperature, target), right, passes=2)
