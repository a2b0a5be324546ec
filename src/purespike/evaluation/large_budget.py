"""Budgets at which nothing can stand (group A, measured; Carlini et al. 2019)."""

from collections.abc import Callable
from dataclasses import replace

from torch import Tensor, nn

from purespike.attacks import SignAttack
from purespike.evaluation.convergence import Attacker
from purespike.evaluation.finding import DEFAULT_LIMITS, Finding, Limits
from purespike.evaluation.invariants import SOURCE

BUDGETS = (0.5, 1.0)
STEPS = 20


def check_large_budgets(
    attacker: Callable[[SignAttack], Attacker],
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    attack: SignAttack,
    limits: Limits = DEFAULT_LIMITS,
) -> list[Finding]:
    """Does the attack break everything in L∞ balls of half the range of a pixel, and of all of it?

    In the first any image can be made grey, in the second any image whatever.

    Args:
        attacker: what runs an attack of given settings, e.g. over an ensemble of surrogates.
        model: images to logits.
        images: some that the model classifies correctly, ``[N, C, H, W]``.
        labels: their classes.
        attack: the one whose number is to be judged; here of few, long steps.
        limits: what is still accepted.
    """
    found = []
    for eps in BUDGETS:
        probe = replace(
            attack, norm="linf", eps=eps, step_size=eps / 8, steps=STEPS, random_start=True, restarts=1
        )
        left = int((~attacker(probe)(model, images, labels).success).sum())
        found.append(
            Finding(
                f"nothing stands at eps {eps:g}",
                "invariants",
                "unreliable" if left > limits.allowed(len(images)) else "reliable",
                f"{left} of {len(images)} images stand at L∞ eps {eps:g}, where "
                + ("any image can be made grey" if eps < 1 else "any image can be made any other"),
                "the gradients are masked: use other surrogates and losses, or an attack without gradients",
                SOURCE,
            )
        )
    return found
