"""Scores that are no single attack's: clean images, and the worst case over attacks."""

from purespike.results.record import Number, Outcome, Record
from purespike.results.score import Score


class CleanScores(Record):
    """Clean accuracy without the purifier, and with it if there is one."""

    undefended: Score
    defended: Score | None


class CleanOutcomes(Record):
    """Correct clean images, 0 or 1 each, without and with the purifier.

    Args:
        undefended: correct without the purifier.
        defended: correct with it.
        tied: class and another one have the same, largest logit: counted as wrong; empty if none has.
        not_finite: some logit is NaN or infinite: counted as wrong; empty if none is.
    """

    undefended: tuple[Outcome, ...] = ()
    defended: tuple[Outcome, ...] = ()
    tied: tuple[Outcome, ...] = ()
    not_finite: tuple[Outcome, ...] = ()


class WorstCase(Record):
    """Images robust to every attack of one budget and threat model."""

    eps: Number
    threat: str
    score: Score
