"""The review of a table: a verdict for each row, and the questions that it leaves open."""

from collections.abc import Sequence

from purespike.results import Finding, Verdict
from purespike.results.record import Record
from purespike.review.questions import questions
from purespike.review.row import Row
from purespike.review.rules import RULES


class ReviewedRow(Record):
    """What was found in one row.

    Args:
        name: name of the row.
        findings: everything that contradicts or looks masked.
        verdict: the worst of them; reliable means that its numbers alone give no reason to doubt them.
    """

    name: str
    findings: tuple[Finding, ...] = ()
    verdict: Verdict


class Review(Record):
    """The review of a whole table.

    Args:
        rows: one for each row, in its order.
        questions: what to ask the authors.
    """

    rows: tuple[ReviewedRow, ...]
    questions: tuple[str, ...] = ()

    @property
    def verdict(self) -> Verdict:
        """The worst verdict of all rows, with the names of those that earn it as its reasons."""
        found = Verdict.of([finding for row in self.rows for finding in row.findings])
        names = tuple(row.name for row in self.rows if row.verdict.level == found.level)
        return Verdict(level=found.level, reasons=names if found.reasons else ())


def review(rows: Sequence[Row]) -> Review:
    """Look for contradictions and signs of masked gradients in each row, and for what no row tells.

    The rules are those of an evaluation's own table, and what published tables that stronger attacks have
    overturned had in common. They see numbers only: no objection is no proof.

    Args:
        rows: the table, e.g. of :func:`read_table`.
    """
    return Review(rows=tuple(map(_reviewed, rows)), questions=tuple(questions(rows)))


def _reviewed(row: Row) -> ReviewedRow:
    # one pair of numbers may earn the same words from two rules
    found = {(each.name, each.message): each for rule in RULES for each in rule(row)}
    findings = tuple(found.values())
    return ReviewedRow(name=row.name, findings=findings, verdict=Verdict.of(findings))
