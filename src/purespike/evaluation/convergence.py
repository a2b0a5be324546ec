"""Whether the attack did what it could (group C; Carlini et al. 2019, Pintor et al. 2022)."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

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
    random: bool = False,
    limits: Limits = DEFAULT_LIMITS,
) -> list[Finding]:
    """Do twice the steps, or four random starts, break what the attack left standing?

    Of an attack with several starts already, twice as many. The remedy of a finding holds the settings. An
    image that falls to more of the same is no chance: a single one counts, unlike where different attacks are
    compared. Of a model that draws one may.

    Args:
        attacker: what runs an attack of given settings, e.g. over an ensemble of surrogates.
        model: images to logits.
        images: some that the model classifies correctly, ``[N, C, H, W]``.
        labels: their classes.
        standing: bool ``[N]``, what ``attack`` left.
        attack: the one whose number is to be judged.
        random: whether the model draws.
        limits: what is still accepted.
    """
    starts = max(4, 2 * attack.restarts)
    remedies: dict[str, dict[str, Any]] = {
        f"{2 * attack.steps} steps": {"steps": 2 * attack.steps},
        f"{starts} random starts": {"restarts": starts, "random_start": True},
    }
    broken, count = int((~standing).sum()), len(images)
    allowed = limits.allowed(count) if random else limits.gain * count
    found = []
    for name, remedy in remedies.items():
        stronger = replace(attack, **remedy)
        if "restarts" in remedy:
            stronger = replace(stronger, seed=attack.seed + 1)
        gained = 0
        if standing.any():
            gained = int(attacker(stronger)(model, images[standing], labels[standing]).success.sum())
        seen = f"{attack.steps} steps break {broken} of {count} images, {name} a further {gained}"
        level = "reliable" if gained <= allowed else "suspicious"
        # a single step with more of them would be another attack
        advice = (
            f"give the attack {name}, and look again" if attack.steps > 1 else "use an iterated attack (pgd)"
        )
        mends = remedy if attack.steps > 1 else None
        found.append(Finding(f"budget: {name}", "optimisation", level, seen, advice, PINTOR, mends))
    return found


def check_loss(result: AttackResult, limits: Limits = DEFAULT_LIMITS) -> Finding:
    """Had the loss of the images that stand come to rest?

    Its mean best value may rise in the last third of the steps, ten at most, by a share ``limits.moved`` of
    what it rose in the whole run.

    Args:
        result: of an attack by gradient steps, not stopped early.
        limits: what is still accepted.
    """
    trace = result.loss_trace[:, ~result.success]
    window = min(10, (len(trace) - 1) // 3)
    if not trace.shape[1] or window < 1:
        seen = "too few steps, or no image left, to judge by"
        return Finding("loss at rest", "optimisation", "reliable", seen, "", PINTOR)
    best = trace.cummax(0).values.mean(1)
    share = ((best[-1] - best[-1 - window]) / (best[-1] - best[0]).clamp(min=1e-12)).item()
    seen = f"the last {window} steps made {share:.1%} of the rise of the loss of the images that stand"
    level = "suspicious" if share > limits.moved else "reliable"
    advice = "more steps: the attack was still getting better"
    return Finding("loss at rest", "optimisation", level, seen, advice, PINTOR)


def check_stability(result: AttackResult, limits: Limits = DEFAULT_LIMITS) -> Finding:
    """Does the loss of the images that stand climb, or is it thrown about?

    What an average step of the second half loses (steps that rise lose nothing) may be a share
    ``limits.unstable`` of what the best iterate gained over the first. An attack that has arrived goes to and
    fro about its maximum, by little; where the steps are too long, or the gradient is random or wrong, by as
    much as it gained.

    Args:
        result: of an attack by gradient steps, not stopped early.
        limits: what is still accepted.
    """
    trace = result.loss_trace[:, ~result.success]
    if not trace.shape[1] or len(trace) < 5:
        seen = "too few steps, or no image left, to judge by"
        return Finding("stable loss", "optimisation", "reliable", seen, "", PINTOR)
    lost = (trace[:-1] - trace[1:]).clamp(min=0)[(len(trace) - 1) // 2 :].mean(0)
    rise = trace.amax(0) - trace[0]
    # where nothing moves there is nothing unstable; other diagnostics see that
    share = torch.where(lost > 0, lost / rise.clamp(min=1e-12), 0).median().item()
    amount = f"{share:.1%} of" if share <= 1 else "more than"
    return Finding(
        "stable loss",
        "optimisation",
        "suspicious" if share > limits.unstable else "reliable",
        f"an average late step loses {amount} what the whole run gained, on the median image that stands",
        "a smaller step size, momentum or apgd_ce; for a model that draws, gradients over more passes (eot)",
        PINTOR,
    )


def check_silent(result: AttackResult, *, loss: str, classes: int) -> Finding:
    """Did an iterate fool the model that the attack then did not return?

    A margin above zero, or a cross-entropy above :math:`\\log K`, is reached by misclassified images only.

    Args:
        result: of an attack by gradient steps as the evaluation runs it.
        loss: that was traced, ``"ce"`` or ``"margin"``.
        classes: K.
    """
    bound = 0.0 if loss == "margin" else math.log(classes) + 1e-4
    fooled = (result.loss_trace > bound).any(0)
    silent = int((fooled & ~result.success).sum())
    return Finding(
        "silent success",
        "optimisation",
        "suspicious" if silent else "reliable",
        f"of {len(fooled)} images {silent} were misclassified on the way and returned as standing",
        "keep the best iterate, not the last",
        PINTOR,
        {"keep": "best"} if result.config.get("keep") == "last" else None,
    )


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

    A single image is suspicious, where it is more than ``limits.gain``; more than one make it unreliable.

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
    level = "suspicious" if gained / len(images) > limits.gain else "reliable"
    if gained > limits.allowed(len(images)):
        level = "unreliable"
    advice = "gradients are masked: an attack that does not use them is stronger"
    source = "Carlini et al. 2019; Athalye et al. 2018"
    return Finding("witness without gradients", "optimisation", level, seen, advice, source)
