"""Training of classifier and purifier, on any device and number of processes, resumable."""

from purespike.training.classifier import build_classifier, train_classifier
from purespike.training.engine import accelerator
from purespike.training.purifier import train_purifier

__all__ = ["accelerator", "build_classifier", "train_classifier", "train_purifier"]
