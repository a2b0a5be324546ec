"""Accuracy and robustness on corrupted images, beside those on clean ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from purespike.budget import same_eps
from purespike.results.cell import Cell
from purespike.results.clean import CleanScores
from purespike.results.provenance import DataDescription
from purespike.results.record import Count, Record
from purespike.results.score import Score

if TYPE_CHECKING:
    from purespike.results.evaluation import Evaluation


CORRUPTIONS = (
    *("brightness", "contrast", "defocus_blur", "elastic_transform", "fog", "frost", "gaussian_blur"),
    *("gaussian_noise", "glass_blur", "impulse_noise", "jpeg_compression", "motion_blur", "pixelate"),
    *("saturate", "shot_noise", "snow", "spatter", "speckle_noise", "zoom_blur"),
)
"""The corruptions of CIFAR-10-C (Hendrycks & Dietterich, ICLR 2019): fifteen, and four for validation."""


class CorruptionScore(Record):
    """Accuracy under one corruption at one severity, without an attack.

    Args:
        corruption: name of the corruption.
        severity: 1 to 5.
        undefended: accuracy without the purifier.
        defended: accuracy with it; ``None`` without one.
    """

    corruption: str
    severity: Count
    undefended: Score
    defended: Score | None = None


class Pair(NamedTuple):
    """One line of a comparison: a score on clean images and one on corrupted ones.

    Args:
        attack: the attack, in words.
        condition: its budget.
        threat: threat model; for images without an attack the part that classifies them.
        clean: score on clean images.
        corrupted: score on corrupted images.
    """

    attack: str
    condition: str
    threat: str
    clean: Score
    corrupted: Score


class Corrupted(Record):
    """Corrupted images: accuracy under each corruption, and robustness where they are attacked as well.

    Args:
        source: name of the folder.
        accuracies: accuracy without an attack by corruption and severity.
        data: the attacked images: each once, corruptions and severities equally often.
        same_images: whether their labels are those of the clean images that were attacked, in the same order.
        clean: accuracy on the attacked images before the attack.
        cells: every attack at every budget under every threat model, as on clean images, not escalated.
    """

    source: str
    accuracies: tuple[CorruptionScore, ...]
    data: DataDescription
    same_images: bool
    clean: CleanScores
    cells: tuple[Cell, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The corruptions."""
        return tuple(dict.fromkeys(each.corruption for each in self.accuracies))

    @property
    def severities(self) -> tuple[int, ...]:
        """The severities."""
        return tuple(sorted({each.severity for each in self.accuracies}))

    def accuracy(
        self, corruption: str | None = None, severity: int | None = None, *, defended: bool
    ) -> float:
        """Mean accuracy in [0, 1], of one corruption, of one severity, or of all.

        Args:
            corruption: name; ``None`` for all.
            severity: 1 to 5; ``None`` for all.
            defended: whether the purifier is in front.
        """
        chosen = [
            each.defended if defended else each.undefended
            for each in self.accuracies
            if corruption in (None, each.corruption) and severity in (None, each.severity)
        ]
        return float(np.mean([score.accuracy for score in chosen if score is not None]))

    def beside(self, evaluation: Evaluation) -> list[Pair]:
        """Clean and corrupted images side by side: without an attack, under each, and in the worst case.

        Both sides of a line met the same attack with the same settings; escalated attacks, which clean images
        alone meet, have none. Both worst cases are over the attacks of these lines.
        """
        clean, own = evaluation.clean, self.clean
        pairs = [Pair("none", "", "without purifier", clean.undefended, own.undefended)]
        if clean.defended is not None and own.defended is not None:
            pairs.append(Pair("none", "", "purified", clean.defended, own.defended))
        matched: list[tuple[Cell, Cell]] = []
        for cell in evaluation.cells:
            other = next((each for each in self.cells if _alike(each, cell)), None)
            if other is not None and cell.raised_from is None:
                matched.append((cell, other))
                pairs.append(
                    Pair(evaluation.label(cell), cell.condition, cell.threat, cell.score, other.score)
                )
        return [*pairs, *_worst(evaluation, matched)]


def _alike(one: Cell, other: Cell) -> bool:
    same = one.attack == other.attack and one.threat == other.threat and one.norm == other.norm
    return same and same_eps(one.eps, other.eps) and one.settings == other.settings


def _worst(evaluation: Evaluation, matched: Sequence[tuple[Cell, Cell]]) -> list[Pair]:
    pairs = []
    for eps in evaluation.budgets:
        for threat in evaluation.threats:
            bounded = [both for both in matched if both[0].threat == threat and same_eps(both[0].eps, eps)]
            if len(bounded) > 1 and all(cell.outcomes for both in bounded for cell in both):
                worst = (_all_robust([both[side] for both in bounded]) for side in (0, 1))
                pairs.append(Pair("worst case of these", bounded[0][0].condition, threat, *worst))
    return pairs


def _all_robust(cells: Sequence[Cell]) -> Score:
    return Score.of(np.logical_and.reduce([cell.robust for cell in cells]))
