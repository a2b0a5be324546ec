"""What must hold between the numbers of one table, whatever the model (group A; Carlini et al. 2019)."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from purespike.checks import format_eps
from purespike.evaluation.finding import DEFAULT_LIMITS, Finding, Limits

SOURCE = "Carlini et al. 2019, On Evaluating Adversarial Robustness"

# a stronger attack stands to the right; attacks of one set are not compared
STRENGTH = ({"fgsm"}, {"ifgsm", "mifgsm", "pgd"}, {"apgd_ce", "apgd_dlr"}, {"autoattack"})
# the attack on the right runs the one on the left and keeps its successes
CONTAINS = (("apgd_ce", "autoattack"), ("square", "autoattack"))
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
        attack: its name, ``"clean"`` for none.
        threat: the threat model.
        accuracy: in [0, 1].
        eps: the budget, of noise its level; ``None`` for neither.
        steps: gradient steps, where it has any.
    """

    attack: str
    threat: str
    accuracy: float
    eps: float | None = None
    steps: int = 1

    def __str__(self) -> str:
        steps = f"-{self.steps}" if self.steps > 1 else ""
        budget = "" if self.eps is None else f" at eps {format_eps(self.eps)}"
        return f"{self.attack}{steps}{budget}, {self.threat} ({self.accuracy:.2%})"


def check_table(rows: Sequence[Measured], limits: Limits = DEFAULT_LIMITS) -> list[Finding]:
    """Every pair of ``rows`` that contradicts itself; one reliable finding if there is none.

    A pair is only compared where all else is equal. Where the stronger side contains the weaker by
    construction, any excess makes the table unreliable; where it only ought to be stronger, an excess beyond
    ``limits.gain`` is suspicious.
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
            if rule is None:
                continue
            name, exact = rule
            excess = stronger.accuracy - weaker.accuracy
            # numbers are often printed with two decimals
            allowed = 5e-5 if exact else limits.gain
            if excess > allowed + 1e-9:
                yield Finding(
                    name,
                    "invariants",
                    "unreliable" if exact else "suspicious",
                    f"{stronger} leaves {excess:.2%} more than {weaker}",
                    "the attack that should be stronger failed: look at its gradients, steps and loss",
                    SOURCE,
                )


def _rule(stronger: Measured, weaker: Measured) -> tuple[str, bool] | None:
    """Name of the rule that orders the two, and whether it holds by construction."""
    same_threat = stronger.threat == weaker.threat
    if same_threat and weaker.attack == "clean" and stronger.attack not in ("clean", "gaussian_noise"):
        return "an attack cannot raise accuracy", True
    if same_threat and stronger.eps == weaker.eps and stronger.eps is not None:
        if (weaker.attack, stronger.attack) in CONTAINS:
            return "a suite is at least as strong as its parts", True
        if stronger.attack == weaker.attack and stronger.steps > weaker.steps:
            return "more steps are at least as strong", False
        ranks = [_rank(row.attack) for row in (stronger, weaker)]
        if None not in ranks and ranks[0] > ranks[1]:  # type: ignore[operator]
            return "an iterated attack is at least as strong", False
    if same_threat and weaker.attack == "gaussian_noise" and _rank(stronger.attack) is not None:
        # noise of a higher level than the attack's budget may well do more harm
        within = None not in (stronger.eps, weaker.eps) and stronger.eps >= weaker.eps  # type: ignore[operator]
        return ("an attack is stronger than noise", False) if within else None
    if weaker.threat == "query" and stronger.threat == "adaptive" and stronger.eps == weaker.eps:
        return ("gradients are at least as strong as queries", False) if _rank(stronger.attack) else None
    same_attack = (stronger.attack, stronger.steps, stronger.eps) == (weaker.attack, weaker.steps, weaker.eps)
    if same_attack and (stronger.threat, weaker.threat) in KNOWS_MORE:
        return "who knows more breaks more", False
    same_but_eps = same_threat and (stronger.attack, stronger.steps) == (weaker.attack, weaker.steps)
    if same_but_eps and None not in (stronger.eps, weaker.eps) and stronger.eps > weaker.eps:  # type: ignore
        return "a larger budget breaks more", False
    return None


def _rank(attack: str) -> int | None:
    return next((rank for rank, names in enumerate(STRENGTH) if attack in names), None)


def _stands_at_large_eps(row: Measured, limits: Limits) -> bool:
    large = row.eps is not None and row.eps >= limits.large_eps
    return large and _rank(row.attack) not in (None, 0) and row.accuracy > limits.gain


def _still_standing(row: Measured) -> Finding:
    return Finding(
        "a budget of half the range breaks everything",
        "invariants",
        "unreliable",
        f"{row} still stands, where any image can be made grey",
        "the gradients are masked: use other surrogates and losses, or an attack without gradients",
        SOURCE,
    )
