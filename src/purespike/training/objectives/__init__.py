"""Training objectives: a loss to train by, penalties added to it, projections after each step.

Each is one file here, or anywhere else, registered by a decorator and named in a recipe.
"""

import importlib
import pkgutil

from purespike.training.objectives.batch import Batch, Criterion, Step, View, count_correct, unwrap
from purespike.training.objectives.compose import Composition, create_objective
from purespike.training.objectives.layers import Layer
from purespike.training.objectives.registry import (
    Objective,
    Penalty,
    Projection,
    Stage,
    objective,
    penalty,
    projection,
)

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")

__all__ = [
    "Batch",
    "Composition",
    "Criterion",
    "Layer",
    "Objective",
    "Penalty",
    "Projection",
    "Stage",
    "Step",
    "View",
    "count_correct",
    "create_objective",
    "objective",
    "penalty",
    "projection",
    "unwrap",
]
