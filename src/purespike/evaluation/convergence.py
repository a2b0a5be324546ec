"""Whether the attack did what it could (group C; Carlini et al. 2019, Pintor et al. 2022)."""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor, nn

from purespike.attacks import AttackResult, SignAttack
from purespike.evaluation.finding import DEFAULT_LIMITS, Finding, Limits

PINTOR = "Pintor et al. 2022, Indicators of Attack Failure"
Attacker = Callable[[nn.Module, Tensor, Tensor], AttackResult]


def check_budget(
    attacker: Callable[[SignAttack], Attacker],
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    standing: Tensor,
    *,
    attack: SignAttack,
    limits: Limits = DEFAULT_LIMITS,
) -> list[Finding]:
    """Do twice the steps, or four random starts, break what the attack left standing?

    Args:
        attacker: what runs an attack of given settings, e.g. over an ensemble of surrogates.
        model: images to logits.
        images: some that the model classifies correctly, ``[N, C, H, W]``.
        labels: their classes.
        standing: bool ``[N]``, what ``attack`` left.
        attack: the one whose number is to be judged.
        limits: what is still accepted.
    """
    more = {
        f"{2 * attack.steps} steps": replace(attack, steps=2 * attack.steps),
        "four random starts": replace(attack, random_start=True, restarts=4, seed=attack.seed + 1),
    }
    broken, count = int((~standing).sum()), len(images)
    found = []
    for name, stronger in more.items():
        gained = 0
        if standing.any():
            gained = int(attacker(stronger)(model, images[standing], labels[standing]).success.sum())
        seen = f"{attack.steps} steps break {broken} of {count} images, {name} a further {gained}"
        level = "reliable" if gained / count <= limits.gain else "suspicious"
        advice = f"give the attack {name}, and look again"
        found.append(Finding(f"budget: {name}", "optimisation", level, seen, advice, PINTOR))
    return found


def check_loss(result: AttackResult, *, moved: float = 0.05) -> Finding:
    """Had the loss of the images that stand come to rest?

    Its mean best value may rise in the last third of the steps, ten at most, by a share ``moved`` of what it
    rose in the whole run.

    Args:
        result: of an attack by gradient steps, not stopped early.
        moved: that share.
    """
    trace = result.loss_trace[:, ~result.success]
    window = min(10, (len(trace) - 1) // 3)
    if not trace.shape[1] or window < 1:
        seen = "too few steps, or no image left, to judge by"
        return Finding("loss at rest", "optimisation", "reliable", seen, "", PINTOR)
    best = trace.cummax(0).values.mean(1)
    share = ((best[-1] - best[-1 - window]) / (best[-1] - best[0]).clamp(min=1e-12)).item()
    seen = f"the last {window} steps made {share:.1%} of the rise of the loss of the images that stand"
    level = "suspicious" if share > moved else "reliable"
    advice = "more steps: the attack was still getting better"
    return Finding("loss at rest", "optimisation", level, seen, advice, PINTOR)


@torch.no_grad()
def check_verdicts(model: nn.Module, result: AttackResult, labels: Tensor) -> Finding:
    """Are the returned images misclassified where the attack says so, and only there?"""
    wrong = model(result.images).argmax(1) != labels
    silent = int((wrong & ~result.success).sum())
    empty = int((result.success & ~wrong).sum())
    seen = f"of {len(labels)} images {silent} are broken but not counted, {empty} counted but not broken"
    level = "reliable" if not silent and not empty else "unreliable"
    advice = "the model or the attack keeps state between calls: judge again"
    return Finding("verdicts of the attack", "optimisation", level, seen, advice, PINTOR)


def check_witness(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    standing: Tensor,
    *,
    witness: Attacker,
    name: str,
    limits: Limits = DEFAULT_LIMITS,
) -> Finding:
    """Does an attack without gradients break what the gradients left standing?

    Args:
        model: images to logits.
        images: ``[N, C, H, W]``.
        labels: their classes.
        standing: bool ``[N]``, what the attack under judgement left.
        witness: attacks without gradients, e.g. Square.
        name: of the witness.
        limits: what is still accepted.
    """
    gained = int(witness(model, images[standing], labels[standing]).success.sum()) if standing.any() else 0
    seen = f"{name} breaks {gained} of the {int(standing.sum())} images that gradients left standing"
    level = "unreliable" if gained / len(images) > limits.gain else "reliable"
    advice = "gradients are masked: an attack that does not use them is stronger"
    source = "Carlini et al. 2019; Athalye et al. 2018"
    return Finding("witness without gradients", "optimisation", level, seen, advice, source)
