"""Invariants between the numbers of one table, whatever the model (group A; Carlini et al. 2019)."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from scipy.stats import binomtest

from purespike.budget import format_eps
from purespike.evaluation.diagnostics.examination import Examination
from purespike.evaluation.diagnostics.rule import rule
from purespike.results import Cell, Finding, Level, Score
from purespike.results.vocabulary import NORMS, attack_words
from purespike.settings import DEFAULT_THRESHOLDS, Thresholds

SOURCE = "Carlini et al. 2019, On Evaluating Adversarial Robustness"

# made on one model and judged by another: images of higher loss on the first need not carry further
SENT = ("oblivious", "transfer")
# the attacker who knows more, against the one who knows less
KNOWS_MORE = (
    ("adaptive", "oblivious"),
    ("adaptive", "bpda"),
    ("adaptive", "transfer"),
)


@dataclass(frozen=True)
class Measured:
    """One number of a table, ours or somebody's.

    Args:
        attack: name of the attack; ``"clean"`` for none, ``"worst_case"`` for the worst case over all.
        threat: threat model.
        accuracy: accuracy in [0, 1].
        eps: budget, of noise its size; ``None`` for neither.
        steps: gradient steps, 1 where it has none; ``None`` if unknown.
        norm: norm of ``eps``.
        restarts: random starts.
        raised_from: steps of the attack that this one went on from, on the images that it left robust.
        outcomes: 1 for each robust image, in the same order in all rows; ``None`` if unknown.
    """

    attack: str
    threat: str
    accuracy: float
    eps: float | None = None
    steps: int | None = 1
    norm: str = "linf"
    restarts: int = 1
    raised_from: int | None = None
    outcomes: tuple[int, ...] | None = field(default=None, repr=False)

    def __str__(self) -> str:
        steps = f"-{self.steps}" if (self.steps or 1) > 1 else ""
        starts = f" with {self.restarts} starts" if self.restarts > 1 else ""
        norm = "" if self.norm == "linf" else f"{NORMS.get(self.norm, self.norm)} "
        budget = "" if self.eps is None else f" at {norm}eps {format_eps(self.eps)}"
        return f"{self.attack}{steps}{starts}{budget}, {self.threat} ({self.accuracy:.2%})"


class Order(NamedTuple):
    """Why one number must not exceed another.

    ``binds`` is ``"image"`` where every image broken by the weaker side must be broken by the stronger,
    ``"draws"`` where that holds up to other random draws, ``"number"`` where the stronger side only ought to
    break more.
    """

    name: str
    binds: str = "number"


@rule(needs="nothing", order=20)
def check_invariants(e: Examination) -> Iterator[Finding]:
    """Do the numbers of the evaluation contradict each other?"""
    yield from check_table(list(measured(e.cells, e.clean)), e.thresholds)


def check_table(rows: Sequence[Measured], thresholds: Thresholds = DEFAULT_THRESHOLDS) -> list[Finding]:
    """Every pair of ``rows`` that contradicts itself; one reliable finding if there is none.

    A pair is only compared where all else is equal, image by image where both outcomes are known. Where the
    stronger side contains the weaker by construction, a single missed image makes the table unreliable; two
    runs of one attack with other random draws may differ in one image, or in ``thresholds.gain``. Where it
    only ought to be stronger, an excess beyond ``thresholds.gain`` is suspicious, if an exact sign test on
    the images about which the two disagree does not put it down to chance (level
    ``thresholds.significance``).

    Without outcomes the numbers are compared: by construction to two decimals of a percentage, else to
    ``thresholds.gain``.
    """
    found = [
        *_pairs(rows, thresholds),
        *(_robust_at_large_eps(row) for row in rows if _survives_large_eps(row, thresholds)),
    ]
    return found or [_finding("table", "reliable", f"{len(rows)} numbers do not contradict each other", "")]


def measured(cells: Sequence[Cell], clean: Mapping[str, Sequence[int]]) -> Iterator[Measured]:
    """The table's rows, clean accuracy first, with the outcomes of each image."""
    for threat in dict.fromkeys(cell.threat for cell in cells):
        column = clean["undefended" if threat == "undefended" else "defended"]
        yield Measured("clean", threat, Score.of(column).accuracy, outcomes=tuple(column))
    for cell in cells:
        row = Measured(
            cell.attack,
            cell.threat,
            cell.score.accuracy,
            cell.eps,
            cell.steps or 1,
            cell.norm,
            cell.settings.restarts,
            cell.raised_from,
            cell.outcomes,
        )
        if cell.norm != "noise":
            yield row
        else:
            # as large as an attack's budget in either norm
            yield replace(row, eps=cell.settings.level, norm="linf")
            yield replace(row, eps=cell.mean_l2, norm="l2")


def _finding(name: str, level: Level, message: str, advice: str) -> Finding:
    return Finding(name=name, group="invariants", level=level, message=message, advice=advice, source=SOURCE)


def _pairs(rows: Sequence[Measured], thresholds: Thresholds) -> Iterator[Finding]:
    for stronger in rows:
        for weaker in rows:
            order = _order(stronger, weaker)
            message = None if order is None else _excess(stronger, weaker, order.binds, thresholds)
            if order is None or message is None:
                continue
            yield _finding(
                order.name,
                "suspicious" if order.binds == "number" else "unreliable",
                message,
                "the attack that should be stronger failed: look at its gradients, steps and loss",
            )


def _excess(stronger: Measured, weaker: Measured, binds: str, thresholds: Thresholds) -> str | None:
    """The excess of ``stronger`` over ``weaker`` in words; ``None`` if it is accepted."""
    excess = stronger.accuracy - weaker.accuracy
    numbers = f"{stronger} leaves {excess:.2%} more images robust than {weaker}"
    if stronger.outcomes is None or weaker.outcomes is None:
        # numbers are often printed with two decimals
        return numbers if excess > (thresholds.gain if binds == "number" else 5e-5) + 1e-9 else None
    left, gained, chance = compare(stronger.outcomes, weaker.outcomes)
    count = len(stronger.outcomes)
    if binds == "image":
        broken = left > 0
    elif binds == "draws":
        broken = left > thresholds.allowed(count)
    else:
        broken = left - gained > thresholds.gain * count and chance <= thresholds.significance
    if not broken:
        return None
    against = "" if binds != "number" else f", {gained} the other way round, by chance with p = {chance:.2g}"
    return f"{left} of {count} images are robust to {stronger} but broken by {weaker}{against}"


def compare(stronger: Sequence[int], weaker: Sequence[int]) -> tuple[int, int, float]:
    """Images robust to the first alone, images robust to the second alone, and the chance of so many.

    The chance is the p-value of an exact one-sided sign test (McNemar's): the probability that, of the images
    about which two equally strong attacks disagree, as many or more are robust to the first.

    Args:
        stronger: outcomes, 1 is robust.
        weaker: outcomes on the same images.
    """
    left = sum(a > b for a, b in zip(stronger, weaker, strict=True))
    gained = sum(a < b for a, b in zip(stronger, weaker, strict=True))
    if not left:
        return 0, gained, 1.0
    return left, gained, float(binomtest(left, left + gained, alternative="greater").pvalue)


def _order(stronger: Measured, weaker: Measured) -> Order | None:
    """The reason why one must not exceed the other, if there is one."""
    same_threat = stronger.threat == weaker.threat
    if same_threat and weaker.attack == "clean" and stronger.attack not in ("clean", "gaussian_noise"):
        return Order("an attack cannot raise accuracy", "image")
    if None in (stronger.eps, weaker.eps) or stronger.norm != weaker.norm:
        return None
    assert stronger.eps is not None and weaker.eps is not None
    if weaker.attack == "gaussian_noise" != stronger.attack:
        # noise of a higher level than the attack's budget may well do more harm
        ordered = same_threat and _rank(stronger.attack) is not None and stronger.eps >= weaker.eps
        return Order("an attack is stronger than noise") if ordered else None
    if stronger.eps == weaker.eps:
        return _at_one_budget(stronger, weaker)
    if same_threat and _settings(stronger) == _settings(weaker) and stronger.eps > weaker.eps:
        return Order("a larger budget breaks more")
    return None


def _at_one_budget(stronger: Measured, weaker: Measured) -> Order | None:
    same_threat = stronger.threat == weaker.threat
    ordered = same_threat and stronger.threat not in SENT
    ranks = _rank(stronger.attack), _rank(weaker.attack)
    if same_threat and stronger.attack == "worst_case" and weaker.attack != "worst_case":
        return Order("the worst case is no better than any attack", "image")
    if same_threat and stronger.attack == weaker.attack:
        longer = None not in (stronger.steps, weaker.steps) and stronger.steps > weaker.steps  # type: ignore[operator]
        if longer and stronger.raised_from == weaker.steps:
            return Order("a raised budget keeps what was broken", "image")
        if longer and ordered and stronger.restarts >= weaker.restarts:
            return Order("more steps are at least as strong")
        if ordered and stronger.steps == weaker.steps and stronger.restarts > weaker.restarts:
            return Order("more random starts are at least as strong")
        return None
    if same_threat and weaker.attack in attack_words(stronger.attack).contains:
        return Order("a suite is at least as strong as its parts", "draws")
    climbs = ordered and _effort(stronger) >= _effort(weaker)
    if climbs and None not in ranks and ranks[0] > ranks[1]:  # type: ignore[operator]
        return Order("an iterated attack is at least as strong")
    asks = attack_words(weaker.attack).by_queries and weaker.threat in ("query", stronger.threat)
    if asks and stronger.threat in ("adaptive", "undefended") and ranks[0]:
        return Order("gradients are at least as strong as queries")
    if (stronger.threat, weaker.threat) in KNOWS_MORE and _settings(stronger) == _settings(weaker):
        return Order("who knows more breaks more")
    return None


def _settings(row: Measured) -> tuple[str, int | None, int]:
    return row.attack, row.steps, row.restarts


def _effort(row: Measured) -> float:
    """Gradient steps over all starts; a suite takes many times what its rows name."""
    return math.inf if attack_words(row.attack).suite else (row.steps or 1) * row.restarts


def _rank(attack: str) -> int | None:
    """Rank of strength; attacks of one rank, and those without, are not compared."""
    return attack_words(attack).rank


def _survives_large_eps(row: Measured, thresholds: Thresholds) -> bool:
    large = row.eps is not None and row.norm == "linf" and row.eps >= thresholds.large_eps
    count = None if row.outcomes is None else len(row.outcomes)
    allowed = thresholds.gain if count is None else thresholds.allowed(count) / count
    return large and _rank(row.attack) not in (None, 0) and row.accuracy > allowed


def _robust_at_large_eps(row: Measured) -> Finding:
    return _finding(
        "a budget of half the range breaks everything",
        "unreliable",
        f"{row} leaves robust images, where any image can be made grey",
        "the gradients are masked: use other surrogates and losses, or an attack without gradients",
    )
