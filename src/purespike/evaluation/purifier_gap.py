"""Whether the gradient through the purifier, and the one around it, find the same (groups C and D)."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from purespike.attacks import IdentityBackward, SignAttack
from purespike.budget import format_eps
from purespike.evaluation.cell import Cell
from purespike.evaluation.convergence import PINTOR
from purespike.evaluation.determinism import TRAMER
from purespike.evaluation.finding import DEFAULT_LIMITS, Finding, Limits
from purespike.models import Defended


def check_bpda_beyond(cells: Sequence[Cell], limits: Limits = DEFAULT_LIMITS) -> list[Finding]:
    """Does BPDA break images that the exact gradient did not? One finding for each budget with both.

    Args:
        cells: of an evaluation, on the same images.
        limits: what is still accepted.
    """
    found = []
    for norm, eps in dict.fromkeys((cell.norm, cell.eps) for cell in cells if cell.threat == "bpda"):
        standing = {
            threat: [
                cell.outcomes for cell in cells if (cell.norm, cell.eps, cell.threat) == (norm, eps, threat)
            ]
            for threat in ("bpda", "adaptive")
        }
        # an attack without a budget breaks everything, the question is how far away
        if eps is None or not standing["adaptive"]:
            continue
        bpda, adaptive = (torch.tensor(columns).bool().all(0) for columns in standing.values())
        missed, count = int((adaptive & ~bpda).sum()), len(bpda)
        found.append(
            Finding(
                "bpda against the exact gradient",
                "defence",
                "suspicious" if missed > limits.allowed(count) else "reliable",
                f"at eps {format_eps(eps)} bpda breaks {missed} of {count} images that stand under adaptive",
                "the exact gradient through the purifier is masked: report the worst case of both, and give "
                "the adaptive attacker other surrogates and more steps",
                TRAMER,
            )
        )
    return found


def check_bpda_transfer(
    model: Defended,
    images: Tensor,
    labels: Tensor,
    broken: Tensor,
    *,
    attack: SignAttack,
    threats: Sequence[str],
    limits: Limits = DEFAULT_LIMITS,
) -> Finding:
    """Do images of the BPDA attacker fool the classifier alone, where the exact gradient breaks the whole?

    Then the identity is a bad picture of the purifier, and the number under ``bpda`` owes to that. It is held
    against an evaluation that has no better one.

    Args:
        model: purifier and classifier.
        images: some that the whole classifies correctly, ``[N, C, H, W]``.
        labels: their classes.
        broken: bool ``[N]``, what falls to the exact gradient.
        attack: run with the purifier's gradient taken for the identity.
        threats: the threat models of the evaluation.
        limits: what is still accepted.
    """
    result = replace(attack, stop_early=False)(IdentityBackward(model).eval(), images, labels)
    with torch.no_grad():
        fooled = model.classifier(result.images).argmax(1) != labels
    lost = fooled & ~result.success
    failed, count = int((lost & broken).sum()), len(images)
    objects = failed > limits.allowed(count) and "adaptive" not in threats
    return Finding(
        "transfer of bpda",
        "optimisation",
        "suspicious" if objects else "reliable",
        f"bpda breaks {int(result.success.sum())} of {count} images; a further {int(lost.sum())} fool the "
        f"classifier but not the whole, {failed} of which the exact gradient breaks",
        "the purifier is not the identity to this attack: judge by adaptive",
        PINTOR,
    )
