"""A training step of each system of ``recipes/peers`` ÷ a plain one of the network, beside its passes."""

import copy
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.measure import Settings, Side, times
from benchmarks.networks import batch
from benchmarks.report import Result, timed
from purespike.models import create
from purespike.neurons import parse_dynamics
from purespike.recipe import ClassifierRecipe, load_recipe
from purespike.training.objectives import Batch, Composition, create_objective
from purespike.training.objectives.distill import Distill
from purespike.training.optimiser import create_optimiser

RECIPES = Path("recipes/peers")
NETWORK: dict[str, Any] = {"architecture": "senet18_snn", "width": 0.25, "time_steps": 4}
"""The same for all, but for neurons and coding; the plain one has neurons of one threshold."""
SIDE = 32
AT_THIS_SIZE: dict[str, dict[str, Any]] = {
    "dlif": {"dynamics": f"dlif(threshold=1, decay=0.99, steps={NETWORK['time_steps']})"},
    # overlapping blocks make frames of 60×60: other work, no other cost of the coding
    "dct": {"coding": "dct(stride=4)"},
}
"""Settings that fit the benchmark's steps and images, by dynamics or coding."""
SLACK = 1.3
"""Time that a step may take, in plain ones, over the passes that it makes."""


@dataclass
class Trained:
    """A network, what it is trained with, and the passes of an image in its last step."""

    recipe: ClassifierRecipe
    objective: Composition
    model: nn.Module
    optimiser: torch.optim.Optimizer
    passes: int = 0

    def step(self, images: Tensor, labels: Tensor) -> None:
        """All steps of a batch, as training makes them."""
        self.model.train()
        self.passes = 0
        for step in self.objective.steps(Batch(self.model, images, labels, recipe=self.recipe)):
            self.optimiser.zero_grad()
            step.loss.backward()
            self.optimiser.step()
            self.objective.project(self.model, "benchmark", device=images.device)
            self.passes += step.passes


def run(settings: Settings) -> Result:
    network = "{architecture}, width {width:g}, T={time_steps}".format(**NETWORK)
    result = Result(f"A training step of each defence: {network}, {settings.batch} images of 32×32")
    images, labels = batch(settings.batch, settings.device)
    plain = trained({"thresholds": [1.0]}, settings.device)
    sides: dict[str, Side] = {"plain": partial(plain.step, images, labels)}
    passes: dict[str, int] = {}
    for path in sorted(RECIPES.glob("*.yaml")):
        recipe = load_recipe(path).classifier
        if not recipe.model_fields_set & {"objective", "dynamics", "coding"}:
            # it trains its classifier as any other
            continue
        try:
            own = trained(recipe.model_dump(mode="json"), settings.device)
            own.step(images, labels)
        except Exception as error:
            # a teacher, or other work before the first epoch, is missing; or another network is needed
            result.skipped.append(f"{path.stem}: {error}")
            continue
        passes[path.stem] = own.passes
        sides[path.stem] = partial(own.step, images, labels)
    seconds = times(sides, settings)
    result.rows = [
        timed(
            f"{name} ÷ plain, a training step",
            seconds,
            name,
            "plain",
            bound=SLACK * count,
            same=f"{count} passes of an image",
        )
        for name, count in passes.items()
    ]
    return result


def trained(settings: dict[str, Any], device: str) -> Trained:
    """The network of a recipe at the size of the benchmark, with its own neurons, coding and optimiser.

    What would be trained before, a teacher or plain network, is as untrained as the network itself.
    """
    recipe = ClassifierRecipe(**{**settings, **NETWORK, **AT_THIS_SIZE.get(_kind(settings), {})})
    torch.manual_seed(0)
    single = recipe.gates == "neuron" or parse_dynamics(recipe.dynamics or "mlf").sized
    size = {"image_size": [SIDE, SIDE]} if single else {}
    model = create(recipe.architecture, width=recipe.width, coding=recipe.coding, **recipe.neurons(), **size)
    optimiser = create_optimiser(recipe.optimiser, model.to(device), recipe.learning_rate)
    objective = create_objective(recipe.objective)
    for part in objective.parts.values():
        if isinstance(part, Distill):
            part.teacher = copy.deepcopy(model)
    return Trained(recipe, objective, model, optimiser)


def _kind(settings: dict[str, Any]) -> str:
    """The name of the dynamics or the coding of a recipe, whichever the benchmark changes."""
    names = [str(settings.get(key) or "").partition("(")[0] for key in ("dynamics", "coding")]
    return next((name for name in names if name in AT_THIS_SIZE), "")
