"""What was measured, as types: read from and written to JSON, shown by reports; needs no torch."""

from purespike.results.beside import read_beside
from purespike.results.card import Accuracy, Card, read_card
from purespike.results.cell import AttackSettings, Bounded, Cell, Component, Quality, Rounded, bound_key
from purespike.results.certification import Certificate, Certification, CertifiedModel
from purespike.results.clean import CleanOutcomes, CleanScores, WorstCase
from purespike.results.comparison import Compared, Comparison
from purespike.results.corruption import Corrupted, CorruptionScore, Pair
from purespike.results.evaluation import Conditions, Evaluation
from purespike.results.finding import LEVELS, Finding, Level, Verdict
from purespike.results.history import Epoch, read_history
from purespike.results.make_card import make_card, write_cards
from purespike.results.outcomes import read_outcomes, write_outcomes
from purespike.results.provenance import DataDescription, ModelDescription, PartDescription, Provenance
from purespike.results.record import Record
from purespike.results.samples import Samples
from purespike.results.score import Score
from purespike.results.transfer import Training, TransferCell, TransferClean, TransferMatrix
from purespike.settings import DEFAULT_THRESHOLDS, Thresholds

__all__ = [
    "DEFAULT_THRESHOLDS",
    "LEVELS",
    "Accuracy",
    "AttackSettings",
    "Bounded",
    "Card",
    "Cell",
    "Certificate",
    "Certification",
    "CertifiedModel",
    "CleanOutcomes",
    "CleanScores",
    "Compared",
    "Comparison",
    "Component",
    "Conditions",
    "Corrupted",
    "CorruptionScore",
    "DataDescription",
    "Epoch",
    "Evaluation",
    "Finding",
    "Level",
    "ModelDescription",
    "Pair",
    "PartDescription",
    "Provenance",
    "Quality",
    "Record",
    "Rounded",
    "Samples",
    "Score",
    "Thresholds",
    "Training",
    "TransferCell",
    "TransferClean",
    "TransferMatrix",
    "Verdict",
    "WorstCase",
    "bound_key",
    "make_card",
    "read_beside",
    "read_card",
    "read_history",
    "read_outcomes",
    "write_cards",
    "write_outcomes",
]
