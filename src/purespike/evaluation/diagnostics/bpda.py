"""Whether the gradient through the purifier, and the one around it, find the same (groups C and D)."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch

from purespike.attacks import IdentityBackward
from purespike.budget import format_eps
from purespike.evaluation.diagnostics.convergence import PINTOR
from purespike.evaluation.diagnostics.determinism import TRAMER
from purespike.evaluation.diagnostics.examination import Examination
from purespike.evaluation.diagnostics.rule import rule
from purespike.models import Defended
from purespike.models.answer import correct, logits_of
from purespike.results import Finding


@rule(needs="nothing", order=30)
def check_bpda_beyond(e: Examination) -> Iterator[Finding]:
    """Does BPDA break images that the exact gradient did not? One finding for each budget with both."""
    for norm, eps in dict.fromkeys((cell.norm, cell.eps) for cell in e.cells if cell.threat == "bpda"):
        columns = {
            threat: [c.robust for c in e.cells if (c.norm, c.eps, c.threat) == (norm, eps, threat)]
            for threat in ("bpda", "adaptive")
        }
        # an attack without a budget breaks everything, the question is how far away
        if eps is None or not columns["adaptive"]:
            continue
        bpda, adaptive = (np.logical_and.reduce(each) for each in columns.values())
        missed, count = int((adaptive & ~bpda).sum()), len(bpda)
        yield Finding(
            name="bpda against the exact gradient",
            group="defence",
            level="suspicious" if missed > e.thresholds.allowed(count) else "reliable",
            message=f"at eps {format_eps(eps)} bpda breaks {missed} of {count} images that are robust under "
            "adaptive",
            advice="the exact gradient through the purifier is masked: report the worst case of both, and "
            "give the adaptive attacker other surrogates and more steps",
            source=TRAMER,
        )


def _transferred(e: Examination) -> int:
    if not isinstance(e.model, Defended) or "bpda" not in e.threats:
        return 0
    return e.cost_of_robust + e.cost(e.side, len(e)) + len(e)


@rule(order=200, passes=_transferred)
def check_bpda_transfer(e: Examination) -> Iterator[Finding]:
    """Do images of the BPDA attacker fool the classifier alone, where the exact gradient breaks the model?

    If so, the identity is a poor approximation of the purifier, which explains the BPDA accuracy; flagged
    only if no adaptive attack was run.
    """
    model = e.model
    if not isinstance(model, Defended) or "bpda" not in e.threats:
        return
    attack = replace(e.side, stop_early=False)
    result = attack(IdentityBackward(model).eval(), e.images, e.labels)
    with torch.no_grad():
        fooled = ~correct(logits_of(model.classifier, result.images), e.labels)
    lost = fooled & ~result.success
    failed = int((lost & ~e.robust).sum())
    objects = failed > e.thresholds.allowed(len(e)) and "adaptive" not in e.threats
    yield Finding(
        name="transfer of bpda",
        group="optimisation",
        level="suspicious" if objects else "reliable",
        message=f"bpda breaks {int(result.success.sum())} of {len(e)} images; a further {int(lost.sum())} "
        f"fool the classifier but not the defended model, {failed} of which the exact gradient breaks",
        advice="the purifier is not the identity to this attack: judge by adaptive",
        source=PINTOR,
    )
