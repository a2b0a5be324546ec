"""What was measured, as types: read from and written to JSON, shown by reports; needs no torch."""

from purespike.results.cell import AttackSettings, Bounded, Cell, Component, Quality, bound_key
from purespike.results.evaluation import CleanOutcomes, CleanScores, Conditions, Evaluation, WorstCase
from purespike.results.finding import LEVELS, Finding, Level, Verdict
from purespike.results.provenance import DataDescription, ModelDescription, PartDescription, Provenance
from purespike.results.record import Record
from purespike.results.score import Score
from purespike.results.transfer import Training, TransferCell, TransferClean, TransferMatrix
from purespike.settings import DEFAULT_THRESHOLDS, Thresholds

__all__ = [
    "DEFAULT_THRESHOLDS",
    "LEVELS",
    "AttackSettings",
    "Bounded",
    "Cell",
    "CleanOutcomes",
    "CleanScores",
    "Component",
    "Conditions",
    "DataDescription",
    "Evaluation",
    "Finding",
    "Level",
    "ModelDescription",
    "PartDescription",
    "Provenance",
    "Quality",
    "Record",
    "Score",
    "Thresholds",
    "Training",
    "TransferCell",
    "TransferClean",
    "TransferMatrix",
    "Verdict",
    "WorstCase",
    "bound_key",
]
