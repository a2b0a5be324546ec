"""Budgets at which no image can be robust (group A, measured; Carlini et al. 2019)."""

from collections.abc import Iterator
from dataclasses import replace

from purespike.evaluation.diagnostics.examination import Examination
from purespike.evaluation.diagnostics.invariants import SOURCE
from purespike.evaluation.diagnostics.rule import rule
from purespike.results import Finding

BUDGETS = (0.5, 1.0)
STEPS = 20


@rule(order=110)
def check_large_budgets(e: Examination) -> Iterator[Finding]:
    """Does the attack break everything in L∞ balls of half the range of a pixel, and of all of it?

    In the first any image can be made grey, in the second any image at all. The attack takes few, long steps.
    """
    for eps in BUDGETS:
        probe = replace(
            e.side, norm="linf", eps=eps, step_size=eps / 8, steps=STEPS, random_start=True, restarts=1
        )
        left = int((~e.attacker(probe)(*e.given).success).sum())
        yield Finding(
            name=f"nothing stands at eps {eps:g}",
            group="invariants",
            level="unreliable" if left > e.thresholds.allowed(len(e)) else "reliable",
            message=f"{left} of {len(e)} images are robust at L∞ eps {eps:g}, where "
            + ("any image can be made grey" if eps < 1 else "any image can be made any other"),
            advice="the gradients are masked: use other surrogates and losses, or a gradient-free attack",
            source=SOURCE,
        )
