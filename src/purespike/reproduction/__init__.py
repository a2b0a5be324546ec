"""The paper's experiments, one command each, its figures beside ours and every threat model named."""

from purespike.reproduction.experiments import EXPERIMENTS, reproduce
from purespike.reproduction.scale import SCALES, Scale, load_scale

__all__ = ["EXPERIMENTS", "SCALES", "Scale", "load_scale", "reproduce"]
