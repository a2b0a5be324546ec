"""Robust conversion: a spiking network that begins with the weights of an adversarially trained ANN."""

import json
from typing import Annotated, Any

import torch
from accelerate.utils import broadcast
from pydantic import AfterValidator, Field
from torch import nn

from purespike.data import Data
from purespike.errors import InputError, unknown
from purespike.files import write_text
from purespike.models import save
from purespike.models.conversion import find_thresholds, take_weights
from purespike.models.predict import as_float
from purespike.models.steps import fixed_steps
from purespike.neurons import ReLU, spiking_neurons
from purespike.recipe import ClassifierRecipe, Training
from purespike.seeding import generator
from purespike.training.objectives.compose import create_objective
from purespike.training.objectives.registry import Projection, Stage, projection
from purespike.training.optimiser import without_neurons

SETTINGS = (*Training.model_fields, "optimiser", "schedule", "smoothing", "objective")
"""Settings that the ANN may have of its own; architecture and width are the network's."""
TWIN = {
    "dynamics": "relu",
    "time_steps": 1,
    "coding": "direct",
    "reset": "attached",
    "gates": "none",
    "care": 0.0,
}
"""Settings that make the ANN of a spiking network; thresholds, decay and surrogate mean nothing then."""
UNUSED = ("thresholds", "decay", "surrogate", "objective")


def _checked(settings: dict[str, Any]) -> dict[str, Any]:
    for key in settings:
        if key not in SETTINGS:
            raise unknown("setting of the ANN", str(key), SETTINGS)
    recipe = ClassifierRecipe(**settings)
    if any(part["name"] == "conversion" for part in recipe.objective):
        raise InputError("objective: an ANN is not converted")
    create_objective(recipe.objective)
    return settings


@projection("conversion")
class Conversion(Projection):
    r"""A start from an ANN, whose currents give the thresholds (Özdenizci & Legenstein 2024).

    Before the first epoch, the same network with rectified linear units and one time step is trained, in a
    run of its own in ``ann``. Its weights become those of the spiking network, and
    :func:`~purespike.models.conversion.find_thresholds` sets the thresholds. What follows is training by any
    objective, in the source RFGSM with TRADES (β = 2), under which the thresholds are learned: as such, or
    where thresholds are fixed through the weights of the batch norms.

    Differences from the source: the statistics of batch norms are measured after the conversion, where the
    source begins with 0 and 1, so that the network can be used at once.

    Args:
        ann: training of the ANN, as ``classifier``: epochs, objective, learning_rate and so on. Settings that
            it leaves out are those of the spiking network, but for the objective (``none``) and groups of the
            optimiser that hold parameters of neurons alone. It has no gates and no recalibration.
        percentile: p, in (0, 100].
        scale: s.
        steps: time steps of the search.
        batches: batches of training images in the search.
    """

    trains = True

    def __init__(
        self,
        *,
        ann: Annotated[dict[str, Any], AfterValidator(_checked)],
        percentile: Annotated[float, Field(gt=0, le=100)] = 99.7,
        scale: Annotated[float, Field(gt=0, le=100)] = 0.3,
        steps: Annotated[int, Field(ge=1, le=10_000)] = 100,
        batches: Annotated[int, Field(ge=1, le=100_000)] = 10,
    ) -> None:
        self.ann, self.percentile, self.scale = ann, percentile, scale
        self.steps, self.batches = steps, batches

    def recipe(self, network: ClassifierRecipe, model: nn.Module) -> ClassifierRecipe:
        """The recipe of the ANN of a spiking network, and of ``model``, which is that network."""
        network = network.model_copy(update={"optimiser": without_neurons(network.optimiser, model)})
        kept = {key: value for key, value in network.model_dump(mode="json").items() if key not in UNUSED}
        return ClassifierRecipe(**{**kept, **TWIN, **self.ann})

    def prepare(self, stage: Stage) -> None:
        # the loop knows the objectives
        from purespike.training.classifier import train_classifier

        if stage.name != "classifier" or stage.test is None:
            raise InputError("conversion: makes classifiers; a purifier has no ANN")
        if any(isinstance(neurons.dynamics, ReLU) for neurons in spiking_neurons(stage.model)):
            raise InputError("conversion: dynamics relu make an ANN, which is not converted")
        if self.steps != stage.recipe.time_steps and (fixed := fixed_steps(stage.model)):
            raise InputError(
                f"conversion: {fixed} has a value for each of {stage.recipe.time_steps} steps, but the "
                f"search for thresholds takes {self.steps}; set steps: {stage.recipe.time_steps}"
            )
        if any(part["name"] == "homeostasis" for part in stage.recipe.objective):
            raise InputError("conversion: homeostasis starts from weights of its own; leave one of them out")
        recipe, folder = self.recipe(stage.recipe, stage.model), stage.folder / "ann"
        data = Data("training images", stage.data, stage.test)
        try:
            ann = train_classifier(
                recipe, data, folder=folder, seed=stage.seed, accelerator=stage.accelerator
            )
        except InputError as error:
            raise InputError(f"conversion: the ANN: {error}") from error
        if stage.accelerator.is_main_process:
            save(ann, folder / "classifier.safetensors")
            add_rows(stage, time_steps=stage.recipe.time_steps)
        stage.accelerator.wait_for_everyone()
        take_weights(stage.model, ann)
        draw = generator(stage.seed, "conversion")
        rows = torch.randperm(len(stage.data), generator=draw)[: self.batches * recipe.batch_size]
        find_thresholds(
            stage.model,
            [
                as_float(stage.data.images[part].to(stage.accelerator.device))
                for part in rows.split(recipe.batch_size)
            ],
            percentile=self.percentile,
            scale=self.scale,
            steps=self.steps,
        )
        with torch.no_grad():
            for tensor in stage.model.state_dict().values():
                # other processes may have rounded otherwise
                tensor.copy_(broadcast(tensor.contiguous()))

    def __call__(self, model: nn.Module) -> None:
        """Nothing: the conversion is over when training begins."""


def add_rows(stage: Stage, *, time_steps: int) -> None:
    """Copy the history of the ANN into that of its run, under the stage ``ann``.

    A pass of one step is 1/T of one of T steps, and counted as such. The ANN fires at no rate.
    """
    from purespike.training.state import read_history

    path = stage.folder / "history.jsonl"
    rows = [row for row in read_history(path) if row["stage"] != "ann"]
    for row in read_history(stage.folder / "ann" / "history.jsonl"):
        row = {**row, "stage": "ann"}
        row.pop("firing_rates", None)
        if "passes" in row:
            row["passes"] /= time_steps
        rows.append(row)
    write_text(path, "".join(json.dumps(row) + "\n" for row in rows))
