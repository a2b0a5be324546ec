"""An evaluation: clean accuracy, every attack under every threat model, diagnostics and their verdict."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np
from pydantic import Field

from purespike.budget import PARSERS, format_eps, same_eps
from purespike.errors import Absent, InputError
from purespike.results import frame, selection
from purespike.results.cell import Cell, Quality
from purespike.results.clean import CleanOutcomes, CleanScores, WorstCase
from purespike.results.contradictions import contradictions
from purespike.results.corruption import Corrupted
from purespike.results.finding import Finding, Verdict
from purespike.results.provenance import DataDescription, ModelDescription, Provenance
from purespike.results.record import Count, Number, Record
from purespike.results.score import Score
from purespike.results.vocabulary import KEPT, NORMS, THREATS, ThreatWords, attack_words, threat_words
from purespike.scalars import parse_number

if TYPE_CHECKING:
    import pandas


class Conditions(Record):
    """Settings that an evaluation ran with; older files lack some.

    Args:
        norm: norm of all budgets.
        eps: budgets of the tables.
        curve_eps: further budgets, of the accuracy-versus-eps curve.
        attacks: name and settings of each attack.
        threats: threat models.
        surrogates: surrogates of the adaptive attacker; none where no neuron takes another one.
        losses: losses of the adaptive attacker.
        substitutes: substitute models by name.
        learned_bpda: fit of the approximation that the BPDA attacker learned, if it did.
        eot: gradients averaged against a stochastic model.
        passes: passes that judge an image of a stochastic model.
        max_cost: gradients per image, surrogate and loss up to which budgets were escalated, and that the
            examination could take unless its images were counted.
        batch_size: images per forward.
        precision: precision of the passes.
        processes: number of processes.
        kept_surrogates: modules that spike, and whose own surrogate the adaptive attacker had to keep.
        left_out: sentences on attacks of the suite that could not apply.
    """

    norm: str | None = None
    eps: tuple[Number, ...] = ()
    curve_eps: tuple[Number, ...] = ()
    attacks: tuple[dict[str, Any], ...] = ()
    threats: tuple[str, ...] = ()
    surrogates: tuple[str, ...] = ()
    losses: tuple[str, ...] = ()
    substitutes: dict[str, ModelDescription] = Field(default_factory=dict)
    learned_bpda: dict[str, Any] | None = None
    eot: Count | None = None
    passes: Count | None = None
    max_cost: Count | None = None
    batch_size: Count | None = None
    precision: str | None = None
    processes: Count | None = None
    kept_surrogates: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()


class Evaluation(Record):
    """Scores, outcomes per image, settings, seed and provenance: the content of ``evaluation.json``.

    Args:
        model: the attacked model.
        data: the images.
        settings: conditions of the measurement.
        clean: clean accuracy on the attacked images.
        clean_whole: clean accuracy on the whole test split, where only a subset was attacked.
        clean_outcomes: clean outcomes per image.
        labels: true class per image.
        cells: every attack at every budget under every threat model.
        worst_case: worst case per budget and threat model.
        quality: likeness of attacked and purified images to clean ones.
        corrupted: the same for corrupted images, where they were measured too.
        diagnostics: findings; ``None`` for an evaluation that was not examined.
        verdict: the worst of them.
        seed: seed of every random draw.
        provenance: origin.
    """

    if_unreadable: ClassVar[str] = "evaluate again"

    schema_version: Literal[1] = Field(alias="schema")
    model: ModelDescription
    data: DataDescription
    settings: Conditions
    clean: CleanScores
    clean_whole: CleanScores | None = None
    clean_outcomes: CleanOutcomes | None = None
    labels: tuple[Count, ...] | None = None
    cells: tuple[Cell, ...]
    worst_case: tuple[WorstCase, ...] = ()
    quality: tuple[Quality, ...] = ()
    corrupted: Corrupted | None = None
    diagnostics: tuple[Finding, ...] | None = None
    verdict: Verdict | None = None
    seed: Count | None = None
    provenance: Provenance | None = None

    @classmethod
    def read(cls, path: str | Path, *, hint: str = "") -> Self:
        """The evaluation in a JSON file.

        Args:
            path: path of the file.
            hint: advice for a file that is missing.

        Raises:
            InputError: as :meth:`Record.read`, or parts of the file contradict each other, see
                :func:`~purespike.results.contradictions.contradictions`.
        """
        evaluation = super().read(path, hint=hint)
        if contradiction := next(contradictions(evaluation), None):
            raise InputError(f"{path}: malformed evaluation: {contradiction}; {cls.if_unreadable}")
        return evaluation

    @property
    def content(self) -> dict[str, Any]:
        """The evaluation as plain JSON values; see :meth:`to_json`."""
        return self.to_json()

    @property
    def norm(self) -> str:
        """``"linf"`` or ``"l2"``: norm of the budgets."""
        return self.settings.norm or next((c.norm for c in self.cells if c.eps is not None), "linf")

    @property
    def budgets(self) -> tuple[float, ...]:
        """Budgets that get a table: those of the settings that were measured, else all measured."""
        measured = sorted({cell.eps for cell in self.cells if cell.eps is not None})
        wanted = self.settings.eps or measured
        return tuple(eps for eps in wanted if any(same_eps(eps, other) for other in measured))

    @property
    def defended(self) -> bool:
        """Whether there is a purifier."""
        return self.model.purifier is not None

    @property
    def threats(self) -> tuple[str, ...]:
        """Measured threat models in the order of their columns."""
        seen = {cell.threat for cell in self.cells}
        return tuple(name for name in (*THREATS, *sorted(seen - THREATS.keys())) if name in seen)

    @property
    def end_to_end_threats(self) -> tuple[str, ...]:
        """Measured threat models that attack the defended model: without a purifier all of them."""
        words = {name: threat_words(name) for name in self.threats}
        return tuple(
            name
            for name, each in words.items()
            if not each.knows_draws and (each.end_to_end or not self.defended)
        )

    def words(self, threat: str) -> ThreatWords:
        """The words of a threat model in this evaluation."""
        words = threat_words(threat)
        if threat == "adaptive" and self.settings.kept_surrogates:
            return replace(words, short=KEPT["short"], definition=KEPT["definition"])
        return words

    @property
    def passes(self) -> int:
        """Most passes over which an image was judged; 1 for a deterministic model."""
        return max((cell.passes for cell in self.cells), default=1)

    def cell(self, attack: str, threat: str, eps: float | str | None = None, **settings: Any) -> Cell:
        """The one cell of this attack and threat model with these settings.

        Args:
            attack: ``"pgd"``, or with steps or settings, ``"PGD-20"``, ``"pgd:steps=20"``. An attack whose
                budget was escalated answers for itself only where its settings are given.
            threat: threat model.
            eps: budget; may be left out where there is one.
            settings: settings of the attack, ``steps=20``.

        Raises:
            InputError: there is none, or several; the message names what tells them apart.
        """
        wanted = None if eps is None else self._budget(eps)
        found, more = selection.named((cell for cell in self.cells if cell.threat == threat), attack)
        given = more | settings
        found = [cell for cell in found if wanted is None or same_eps(cell.eps, wanted)]
        found = selection.select(found, given)
        if len(found) > 1:
            raise selection.ambiguous(attack, threat, found)
        if not found:
            budget = "" if wanted is None else f" at eps {format_eps(wanted)}"
            budget += "".join(f", {name}={value}" for name, value in settings.items())
            raise InputError(f"evaluation: holds no {attack} under threat model {threat}{budget}")
        return found[0]

    def accuracy(self, attack: str, threat: str, eps: float | str | None = None, **settings: Any) -> float:
        """Accuracy in [0, 1] of :meth:`cell`."""
        return self.cell(attack, threat, eps, **settings).score.accuracy

    def label(self, cell: Cell) -> str:
        """The attack of a cell with what tells it apart from the others, ``PGD-20 (restarts 5)``."""
        return selection.label(cell, self.cells)

    def to_dataframe(self) -> pandas.DataFrame:
        """One row per clean accuracy, cell and worst case, with the columns of ``robustness.csv``.

        Raises:
            InputError: pandas is missing.
        """
        return frame.to_dataframe(self)

    def cells_at(self, eps: float, threats: Iterable[str]) -> list[Cell]:
        """The cells of one budget under some threat models, in the order of tables, then of steps."""
        wanted = set(threats)
        found = [
            cell
            for cell in self.cells
            if cell.threat in wanted and cell.norm == self.norm and same_eps(cell.eps, eps)
        ]
        return sorted(found, key=lambda cell: (attack_words(cell.attack).order, cell.steps or 1))

    def worst_case_at(self, eps: float | str, threats: Iterable[str]) -> np.ndarray | None:
        """Images robust to every attack up to a budget under some threat models, bool ``[N]``.

        An image broken within a smaller budget is broken within this one, and under a threat model that
        :attr:`~purespike.results.vocabulary.ThreatWords.knows_all`, one broken by any attack on the defended
        model is broken. ``None`` if none of ``threats`` was run at this budget.

        Raises:
            InputError: a cell has no outcomes per image.
        """
        eps, threats = self._budget(eps), set(threats)
        if not self.cells_at(eps, threats):
            return None
        counted = threats & set(self.threats)
        if any(threat_words(name).knows_all for name in counted):
            counted |= set(self.end_to_end_threats)
        return np.logical_and.reduce(
            [
                cell.robust
                for cell in self.cells
                if cell.threat in counted and cell.norm == self.norm and _within(cell.eps, eps)
            ]
        )

    def _budget(self, eps: float | str) -> float:
        return PARSERS.get(self.norm, parse_number)(eps)

    def worst_score(self, eps: float | str, *threats: str) -> Score | None:
        """Score of :meth:`worst_case_at`; where outcomes per image are absent, the lowest score known."""
        eps = self._budget(eps)
        try:
            robust = self.worst_case_at(eps, threats)
        except InputError:
            kept = [case for case in self.worst_case if same_eps(case.eps, eps) and case.threat in threats]
            known = [*(case.score for case in kept), *(cell.score for cell in self.cells_at(eps, threats))]
            return min(known, key=lambda score: score.accuracy)
        return None if robust is None else Score.of(robust)

    @property
    def worst_cases(self) -> tuple[WorstCase, ...]:
        """The worst case of each threat model at each budget of the tables."""
        return tuple(
            WorstCase(eps=eps, threat=threat, score=score)
            for eps in self.budgets
            for threat in self.threats
            if (score := self.worst_score(eps, threat)) is not None
        )

    def clean_correct(self, *, defended: bool) -> np.ndarray:
        """Correct clean images, bool ``[N]``, without or with the purifier.

        Raises:
            Absent: they were not kept.
        """
        kept = self.clean_outcomes
        values = () if kept is None else kept.defended if defended else kept.undefended
        if not values:
            raise Absent("the outcomes per image on clean images were not kept")
        return np.asarray(values, dtype=bool)

    @property
    def level(self) -> str:
        """``"reliable"``, ``"suspicious"``, ``"unreliable"`` or ``"not examined"``."""
        return self.verdict.level if self.verdict else "not examined"

    @property
    def verdict_line(self) -> str:
        """The verdict in one line, also where there is none."""
        return str(self.verdict or "VERDICT: not examined (the diagnostics were turned off)")

    def __str__(self) -> str:
        """One line per cell, each with its threat model, the worst cases, and the verdict."""
        lines = [f"Evaluation on {self.data.text}, {self.model.text}"]
        lines.append(f"clean: {self.clean.undefended.text}% {self.clean.undefended.interval}")
        if self.clean.defended is not None:
            lines[-1] += f", purified {self.clean.defended.text}% {self.clean.defended.interval}"
        lines += [
            f"{self.label(cell)} ({cell.condition}), {cell.threat}: {_score(cell.score)}"
            for cell in self.cells
        ]
        # more than one line where several attacks, or those of attackers who know less, are put together
        norm = NORMS[self.settings.norm or "linf"]
        lines += [
            f"worst case ({norm}, eps {format_eps(case.eps)}), {case.threat}: {_score(case.score)}"
            for case in self.worst_cases
            if len(self.cells) > 1
        ]
        lines.append(self.verdict_line)
        return "\n".join(lines)

    __repr__ = __str__


def _within(eps: float | None, budget: float) -> bool:
    return eps is not None and (eps < budget or same_eps(eps, budget))


def _score(score: Score) -> str:
    return f"{score.text}% {score.interval} of {score.n}"
