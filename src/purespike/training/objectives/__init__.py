"""What a training step of a classifier minimises: for each way to train, a function of model and batch."""

from purespike.training.objectives.create import create_objective
from purespike.training.objectives.step import Criterion, Objective, Step

__all__ = ["Criterion", "Objective", "Step", "create_objective"]
