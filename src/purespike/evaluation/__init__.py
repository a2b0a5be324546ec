"""Evaluation: accuracy under attack, threat model by threat model."""

from purespike.evaluation.evaluate import evaluate
from purespike.evaluation.result import Evaluation
from purespike.evaluation.threat import THREATS, Threat

__all__ = ["THREATS", "Evaluation", "Threat", "evaluate"]
