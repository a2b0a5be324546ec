"""What must hold between the numbers of one table, whatever the model (group A; Carlini et al. 2019)."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from scipy.stats import binomtest

from purespike.budget import format_eps
from purespike.evaluation.finding import DEFAULT_LIMITS, Finding, Limits
from purespike.results.vocabulary import attack_words

SOURCE = "Carlini et al. 2019, On Evaluating Adversarial Robustness"

# made on one model and judged by another: what climbs higher on the first need not carry further
SENT = ("oblivious", "transfer")
# who knows more, against who knows less
KNOWS_MORE = (
    ("adaptive", "oblivious"),
    ("adaptive", "bpda"),
    ("adaptive", "transfer"),
)


@dataclass(frozen=True)
class Measured:
    """One number of a table, ours or somebody's.

    Args:
        attack: its name, ``"clean"`` for none, ``"worst_case"`` for the images that stand under all.
        threat: the threat model.
        accuracy: in [0, 1].
        eps: the budget, of noise its size; ``None`` for neither.
        steps: gradient steps, where it has any.
        norm: in which ``eps`` is measured.
        restarts: random starts.
        raised_from: steps of the attack that this one went on from, on what that left standing.
        outcomes: 1 for each image that is right, in the same order in all rows; ``None`` if unknown.
    """

    attack: str
    threat: str
    accuracy: float
    eps: float | None = None
    steps: int = 1
    norm: str = "linf"
    restarts: int = 1
    raised_from: int | None = None
    outcomes: tuple[int, ...] | None = field(default=None, repr=False)

    def __str__(self) -> str:
        steps = f"-{self.steps}" if self.steps > 1 else ""
        starts = f" with {self.restarts} starts" if self.restarts > 1 else ""
        norm = "L2 " if self.norm == "l2" else ""
        budget = "" if self.eps is None else f" at {norm}eps {format_eps(self.eps)}"
        return f"{self.attack}{steps}{starts}{budget}, {self.threat} ({self.accuracy:.2%})"


class Rule(NamedTuple):
    """Why one number must not exceed another.

    ``binds`` is ``"image"`` where no image may stand that fell to the weaker side, ``"draws"`` where that
    holds up to other random draws, ``"number"`` where the stronger side only ought to break more.
    """

    name: str
    binds: str = "number"


def check_table(rows: Sequence[Measured], limits: Limits = DEFAULT_LIMITS) -> list[Finding]:
    """Every pair of ``rows`` that contradicts itself; one reliable finding if there is none.

    A pair is only compared where all else is equal, image by image where both outcomes are known. Where the
    stronger side contains the weaker by construction, an image that it leaves makes the table unreliable; two
    runs of one attack with other random draws may differ in one image, or in ``limits.gain``. Where it only
    ought to be stronger, an excess beyond ``limits.gain`` is suspicious, if an exact sign test on the images
    about which the two disagree does not put it down to chance (level ``limits.significance``).

    Without outcomes the numbers are compared: by construction to two decimals of a percentage, else to
    ``limits.gain``.
    """
    found = [
        *_pairs(rows, limits),
        *(_still_standing(row) for row in rows if _stands_at_large_eps(row, limits)),
    ]
    if found:
        return found
    seen = f"{len(rows)} numbers do not contradict each other"
    return [Finding("table", "invariants", "reliable", seen, "", SOURCE)]


def _pairs(rows: Sequence[Measured], limits: Limits) -> Iterator[Finding]:
    for stronger in rows:
        for weaker in rows:
            rule = _rule(stronger, weaker)
            seen = None if rule is None else _excess(stronger, weaker, rule.binds, limits)
            if rule is None or seen is None:
                continue
            yield Finding(
                rule.name,
                "invariants",
                "suspicious" if rule.binds == "number" else "unreliable",
                seen,
                "the attack that should be stronger failed: look at its gradients, steps and loss",
                SOURCE,
            )


def _excess(stronger: Measured, weaker: Measured, binds: str, limits: Limits) -> str | None:
    """What ``stronger`` leaves beyond ``weaker``, in words; ``None`` if it is accepted."""
    excess = stronger.accuracy - weaker.accuracy
    numbers = f"{stronger} leaves {excess:.2%} more than {weaker}"
    if stronger.outcomes is None or weaker.outcomes is None:
        # numbers are often printed with two decimals
        return numbers if excess > (limits.gain if binds == "number" else 5e-5) + 1e-9 else None
    left, gained, chance = compare(stronger.outcomes, weaker.outcomes)
    count = len(stronger.outcomes)
    if binds == "image":
        broken = left > 0
    elif binds == "draws":
        broken = left > limits.allowed(count)
    else:
        broken = left - gained > limits.gain * count and chance <= limits.significance
    if not broken:
        return None
    against = "" if binds != "number" else f", {gained} the other way round, by chance with p = {chance:.2g}"
    return f"{stronger} leaves {left} of {count} images that fall to {weaker}{against}"


def compare(stronger: Sequence[int], weaker: Sequence[int]) -> tuple[int, int, float]:
    """Images that only the first leaves, those that only the second leaves, and the chance of so many.

    The chance is that of an exact one-sided sign test (McNemar's): of as many or more of the images about
    which two equally strong attacks disagree being left by the first.

    Args:
        stronger: outcomes, 1 is standing.
        weaker: outcomes on the same images.
    """
    left = sum(a > b for a, b in zip(stronger, weaker, strict=True))
    gained = sum(a < b for a, b in zip(stronger, weaker, strict=True))
    if not left:
        return 0, gained, 1.0
    return left, gained, float(binomtest(left, left + gained, alternative="greater").pvalue)


def _rule(stronger: Measured, weaker: Measured) -> Rule | None:
    """The rule that orders the two."""
    same_threat = stronger.threat == weaker.threat
    if same_threat and weaker.attack == "clean" and stronger.attack not in ("clean", "gaussian_noise"):
        return Rule("an attack cannot raise accuracy", "image")
    if None in (stronger.eps, weaker.eps) or stronger.norm != weaker.norm:
        return None
    assert stronger.eps is not None and weaker.eps is not None
    if weaker.attack == "gaussian_noise" != stronger.attack:
        # noise of a higher level than the attack's budget may well do more harm
        ordered = same_threat and _rank(stronger.attack) is not None and stronger.eps >= weaker.eps
        return Rule("an attack is stronger than noise") if ordered else None
    if stronger.eps == weaker.eps:
        return _at_one_budget(stronger, weaker)
    if same_threat and _settings(stronger) == _settings(weaker) and stronger.eps > weaker.eps:
        return Rule("a larger budget breaks more")
    return None


def _at_one_budget(stronger: Measured, weaker: Measured) -> Rule | None:
    same_threat = stronger.threat == weaker.threat
    ordered = same_threat and stronger.threat not in SENT
    ranks = _rank(stronger.attack), _rank(weaker.attack)
    if same_threat and stronger.attack == "worst_case" and weaker.attack != "worst_case":
        return Rule("the worst case is no better than any attack", "image")
    if same_threat and stronger.attack == weaker.attack:
        if stronger.raised_from is not None and stronger.raised_from == weaker.steps < stronger.steps:
            return Rule("a raised budget keeps what was broken", "image")
        if ordered and stronger.steps > weaker.steps and stronger.restarts >= weaker.restarts:
            return Rule("more steps are at least as strong")
        if ordered and stronger.steps == weaker.steps and stronger.restarts > weaker.restarts:
            return Rule("more random starts are at least as strong")
        return None
    if same_threat and weaker.attack in attack_words(stronger.attack).contains:
        return Rule("a suite is at least as strong as its parts", "draws")
    climbs = ordered and _effort(stronger) >= _effort(weaker)
    if climbs and None not in ranks and ranks[0] > ranks[1]:  # type: ignore[operator]
        return Rule("an iterated attack is at least as strong")
    asks = attack_words(weaker.attack).by_queries and weaker.threat in ("query", stronger.threat)
    if asks and stronger.threat in ("adaptive", "undefended") and ranks[0]:
        return Rule("gradients are at least as strong as queries")
    if (stronger.threat, weaker.threat) in KNOWS_MORE and _settings(stronger) == _settings(weaker):
        return Rule("who knows more breaks more")
    return None


def _settings(row: Measured) -> tuple[str, int, int]:
    return row.attack, row.steps, row.restarts


def _effort(row: Measured) -> float:
    """Gradient steps over all starts; a suite takes many times what its rows name."""
    return math.inf if attack_words(row.attack).suite else row.steps * row.restarts


def _rank(attack: str) -> int | None:
    """Rank of strength; attacks of one rank, and those without, are not compared."""
    return attack_words(attack).rank


def _stands_at_large_eps(row: Measured, limits: Limits) -> bool:
    large = row.eps is not None and row.norm == "linf" and row.eps >= limits.large_eps
    allowed = limits.gain if row.outcomes is None else limits.allowed(len(row.outcomes)) / len(row.outcomes)
    return large and _rank(row.attack) not in (None, 0) and row.accuracy > allowed


def _still_standing(row: Measured) -> Finding:
    return Finding(
        "a budget of half the range breaks everything",
        "invariants",
        "unreliable",
        f"{row} still stands, where any image can be made grey",
        "the gradients are masked: use other surrogates and losses, or an attack without gradients",
        SOURCE,
    )
