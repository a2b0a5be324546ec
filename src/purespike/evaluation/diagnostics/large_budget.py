"""Budgets at which no image can be robust (group A, measured; Carlini et al. 2019)."""

from collections.abc import Iterator
from dataclasses import replace

from purespike.attacks import SignAttack
from purespike.evaluation.diagnostics.examination import Examination
from purespike.evaluation.diagnostics.invariants import SOURCE
from purespike.evaluation.diagnostics.rule import rule
from purespike.results import Finding

BUDGETS = (0.5, 1.0)
STEPS = 20
# images; a few will do
PROBED = 8


def _probe(e: Examination, eps: float) -> SignAttack:
    return replace(
        e.side,
        norm="linf",
        rule="steepest",
        eps=eps,
        step_size=eps / 8,
        steps=STEPS,
        random_start=True,
        restarts=1,
    )


def _passes(e: Examination) -> int:
    return sum(e.cost(_probe(e, eps), min(len(e), PROBED), routes=e.routes) for eps in BUDGETS)


@rule(order=110, passes=_passes)
def check_large_budgets(e: Examination) -> Iterator[Finding]:
    """Does the attack break everything in L∞ balls of half the range of a pixel, and of all of it?

    In the first any image can be made grey, in the second any image at all. The attack takes few, long steps.
    """
    given = e.first(PROBED)
    count = len(given[1])
    for eps in BUDGETS:
        left = int((~e.attacker(_probe(e, eps))(*given).success).sum())
        yield Finding(
            name=f"nothing stands at eps {eps:g}",
            group="invariants",
            level="unreliable" if left > e.thresholds.allowed(count) else "reliable",
            message=f"{left} of {count} images are robust at L∞ eps {eps:g}, where "
            + ("any image can be made grey" if eps < 1 else "any image can be made any other"),
            advice="the gradients are masked: use other surrogates and losses, or a gradient-free attack",
            source=SOURCE,
        )
