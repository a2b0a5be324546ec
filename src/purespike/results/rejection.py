"""What was measured about a model that rejects, or gates its purifier: the content of ``rejection.json``."""

from typing import ClassVar, Literal

from pydantic import Field

from purespike.results.cell import AttackSettings, Bounded, Component
from purespike.results.finding import Finding
from purespike.results.provenance import DataDescription, ModelDescription, Provenance
from purespike.results.record import Count, Number, Outcome, Record, Share
from purespike.results.score import Score
from purespike.results.vocabulary import attack_text, percent, threat_words


class Estimate(Record):
    """A number in [0, 1] with its 95% interval."""

    value: Share
    low: Share
    high: Share

    @property
    def text(self) -> str:
        """``0.912 [0.861, 0.947]``."""
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


class Detection(Record):
    """How well scores tell attacked images that fool the classifier from clean ones.

    Args:
        successes: number of images that are right clean and wrong attacked; a failed attack is no positive.
        auroc: area under the curve of true against false positives; ``None`` without successes.
        tpr_at_1: share of the successes above the threshold that 1% of clean images exceed.
        tpr_at_5: the same at 5%.
    """

    successes: Count
    auroc: Estimate | None = None
    tpr_at_1: Score | None = None
    tpr_at_5: Score | None = None


class RiskCoverage(Record):
    """Share of errors among the accepted images, against the share that is accepted.

    Args:
        coverage: shares of images, ascending, one per threshold that makes a difference.
        risk: share of errors at each.
        aurc: mean risk over coverages, each image's own.
    """

    coverage: tuple[Share, ...]
    risk: tuple[Share, ...]
    aurc: Share


class CleanRejection(Record):
    """Clean images.

    Args:
        coverage: share of images that pass the gate: accepted, or in a gated model left unpurified.
        accuracy: share that is classified correctly, rejected or not.
        selective: accuracy of the accepted images; ``None`` if there are none.
        curve: risk at every coverage.
        scores: score of each image.
        right: 1 for each image that is classified correctly.
    """

    coverage: Score
    accuracy: Score
    selective: Score | None
    curve: RiskCoverage
    scores: tuple[Number, ...]
    right: tuple[Outcome, ...]


class RejectionCell(Bounded):
    """One attack under one threat model.

    Args:
        robust: share of images that are accepted and right clean, and that the attack could not make
            accepted and wrong; attacked ones may be rejected at no cost.
        won: share of images on which the attacker won: accepted and wrong, be it without a perturbation.
        accepted: share of the attacked images that pass the gate.
        selective: accuracy of the attacked images that the model answers; ``None`` if there are none.
        outcomes: 1 for each robust image.
        scores: score of each attacked image.
        right: 1 for each attacked image that is classified correctly, rejected or not.
        detection: how well the score tells these images from clean ones.
        curve: risk at every coverage of attacked images; of an attacker who does not know the gate only,
            since another threshold would be met by another adaptive attack.
        settings: settings of the attack.
        components: one entry per route of the attacker.
    """

    robust: Score
    won: Score
    accepted: Score
    selective: Score | None
    outcomes: tuple[Outcome, ...]
    scores: tuple[Number, ...]
    right: tuple[Outcome, ...]
    detection: Detection
    curve: RiskCoverage | None = None
    settings: AttackSettings
    components: tuple[Component, ...] = ()
    forwards: Count
    backwards: Count
    seconds: Number
    warnings: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """``PGD-20``."""
        return attack_text(self.attack, self.settings.steps)

    def line(self) -> str:
        """One line for the console: the score, never without its threat model."""
        return (
            f"{self.title} ({self.condition}), {threat_words(self.threat).inline}: robust with reject "
            f"{self.robust.text}% of {self.robust.n} {self.robust.interval}, attacker wins {self.won.text}%"
        )


class SlightlyPerturbed(Bounded):
    """Share of the images accepted clean that a small perturbation makes rejected: the price of rejecting.

    Args:
        share: budget as a share of the evaluation's.
        rejected: share of these images.
    """

    share: Share
    rejected: Score


class Rejection(Record):
    """Everything measured about a model with a gate, image by image."""

    if_unreadable: ClassVar[str] = "measure it again"

    schema_version: Literal[1] = Field(alias="schema")
    kind: Literal["rejecting", "gated"]
    model: ModelDescription
    score: str
    threshold: Number
    data: DataDescription
    norm: str
    surrogates: tuple[str, ...]
    losses: tuple[str, ...]
    gates: tuple[str, ...]
    clean: CleanRejection
    cells: tuple[RejectionCell, ...]
    slight: tuple[SlightlyPerturbed, ...] = ()
    findings: tuple[Finding, ...] = ()
    labels: tuple[Count, ...]
    seed: Count
    provenance: Provenance

    def cell(self, threat: str, attack: str | None = None, eps: float | None = None) -> RejectionCell:
        """The first cell of this threat model, and of attack and budget if given."""
        return next(
            cell
            for cell in self.cells
            if cell.threat == threat and attack in (None, cell.attack) and eps in (None, cell.eps)
        )

    def __str__(self) -> str:
        """Clean figures, then a line per cell."""
        passed = "accepted" if self.kind == "rejecting" else "left unpurified"
        lines = [
            f"{self.score} at {self.threshold:.6g} on {self.data.text}: {self.clean.coverage.text}% "
            f"{self.clean.coverage.interval} of clean images {passed}, accuracy {self.clean.accuracy.text}%"
        ]
        if self.kind == "rejecting" and self.clean.selective is not None:
            lines[0] += f", of the accepted {self.clean.selective.text}%"
        lines += [cell.line() for cell in self.cells]
        lines += [
            f"{percent(each.rejected.accuracy)}% {each.rejected.interval} of accepted images can be made "
            f"rejected ({each.condition})"
            for each in self.slight
        ]
        return "\n".join([*lines, *(f"{each.name}: {each.message}" for each in self.findings)])

    __repr__ = __str__
