"""The paper's experiments, one command each, its numbers beside ours and every threat model named."""

import purespike.reproduction.experiments  # noqa: F401
from purespike.reproduction.output import reproduce
from purespike.reproduction.registry import EXPERIMENTS, experiment
from purespike.reproduction.scale import SCALES, Scale, load_scale

__all__ = ["EXPERIMENTS", "SCALES", "Scale", "experiment", "load_scale", "reproduce"]
