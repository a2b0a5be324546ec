"""Evaluation: accuracy under attack, threat model by threat model."""

from purespike.evaluation.evaluate import evaluate
from purespike.evaluation.threat import THREATS, Threat
from purespike.evaluation.transfer import transfer_matrix
from purespike.results import Evaluation, TransferMatrix

__all__ = ["THREATS", "Evaluation", "Threat", "TransferMatrix", "evaluate", "transfer_matrix"]
