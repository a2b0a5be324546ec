"""Whether the attack did what it could (group C; Carlini et al. 2019, Pintor et al. 2022)."""

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch

from purespike.attacks import SignAttack, create_attack
from purespike.attacks.registry import knows_norm
from purespike.evaluation.diagnostics.examination import Examination
from purespike.evaluation.diagnostics.rule import rule
from purespike.models.answer import correct, logits_of
from purespike.results import Finding, Level
from purespike.results.vocabulary import attack_words

PINTOR = "Pintor et al. 2022, Indicators of Attack Failure"
# queries of the gradient-free attack: enough to notice a mask, too few to measure with
QUERIES, FEWEST_QUERIES = 300, 50


def _optimisation(name: str, level: Level, message: str, advice: str, **more: Any) -> Finding:
    given = {"source": PINTOR, **more}
    return Finding(name=name, group="optimisation", level=level, message=message, advice=advice, **given)


@rule(order=120, passes=lambda e: 0 if e.stochastic else e.cost_as_run + len(e))
@torch.no_grad()
def check_verdicts(e: Examination) -> Iterator[Finding]:
    """Are the returned images misclassified where the attack says so, and only there?"""
    if e.stochastic:
        return
    wrong = ~correct(logits_of(e.model, e.as_run.images), e.labels)
    silent = int((wrong & ~e.as_run.success).sum())
    empty = int((e.as_run.success & ~wrong).sum())
    yield _optimisation(
        "verdicts of the attack",
        "unreliable" if silent or empty else "reliable",
        f"of {len(e)} images {silent} are broken but not counted, {empty} counted but not broken",
        "the model or the attack keeps state between calls: judge again",
    )


def _remedied(e: Examination) -> int:
    attacks = (_stronger(e.attack, remedy) for remedy in _remedies(e.attack).values())
    return e.cost_of_robust + sum(e.cost(attack, e.unbroken, routes=e.routes) for attack in attacks)


def _remedies(attack: SignAttack) -> dict[str, dict[str, Any]]:
    starts = max(4, 2 * attack.restarts)
    return {
        f"{2 * attack.steps} steps": {"steps": 2 * attack.steps},
        f"{starts} random starts": {"restarts": starts, "random_start": True},
    }


def _stronger(attack: SignAttack, remedy: dict[str, Any]) -> SignAttack:
    # other starts
    seed = attack.seed + ("restarts" in remedy)
    return replace(attack, seed=seed, **remedy)


@rule(order=140, passes=_remedied)
def check_budget(e: Examination) -> Iterator[Finding]:
    """Findings of :func:`budget_findings`, computed before if the evaluation escalates budgets."""
    yield from budget_findings(e) if e.budget is None else e.budget


def budget_findings(e: Examination) -> Iterator[Finding]:
    """Do twice the steps, or four random starts, break images that the attack left robust?

    For an attack with several starts already, twice as many. The remedy of a finding holds the settings. An
    image broken by more of the same is no chance: a single one counts, unlike where different attacks are
    compared. For a stochastic model, one image is tolerated.
    """
    attack, robust, count = e.attack, e.robust, len(e)
    broken = int((~robust).sum())
    allowed = e.thresholds.allowed(count) if e.stochastic else e.thresholds.gain * count
    for name, remedy in _remedies(attack).items():
        gained = 0
        if robust.any():
            stronger = e.attacker(_stronger(attack, remedy))
            gained = int(stronger(e.model, e.images[robust], e.labels[robust]).success.sum())
        # a single step with more of them would be another attack
        iterated = attack.steps > 1
        yield _optimisation(
            f"budget: {name}",
            "reliable" if gained <= allowed else "suspicious",
            f"{attack.steps} steps break {broken} of {count} images, {name} a further {gained}",
            f"give the attack {name}, and look again" if iterated else "use an iterated attack (pgd)",
            remedy=remedy if iterated else None,
        )


@rule(order=150, passes=lambda e: e.cost_as_run + 1)
def check_silent(e: Examination) -> Iterator[Finding]:
    r"""Did an iterate fool the model that the attack then did not return?

    A margin above zero, or a cross-entropy above :math:`\log K`, is reached by misclassified images only.
    """
    with torch.no_grad():
        classes = logits_of(e.model, e.images[:1]).shape[1]
    bound = 0.0 if e.attack.loss == "margin" else math.log(classes) + 1e-4
    fooled = (e.as_run.loss_trace > bound).any(0)
    silent = int((fooled & ~e.as_run.success).sum())
    yield _optimisation(
        "silent success",
        "suspicious" if silent else "reliable",
        f"of {len(fooled)} images {silent} were misclassified on the way and returned as robust",
        "keep the best iterate, not the last",
        remedy={"keep": "best"} if e.as_run.config.get("keep") == "last" else None,
    )


@rule(order=160, passes=lambda e: e.cost_slow)
def check_loss(e: Examination) -> Iterator[Finding]:
    """Had the loss of the robust images come to rest?

    Its mean best value may rise in the last third of the steps, ten at most, by a fraction
    ``thresholds.late_gain`` of its rise in the whole run.
    """
    if e.slow is None:
        return
    trace = e.slow.loss_trace[:, ~e.slow.success]
    window = min(10, (len(trace) - 1) // 3)
    if not trace.shape[1] or window < 1:
        yield _optimisation("loss at rest", "reliable", "too few steps, or no image left, to judge by", "")
        return
    best = trace.cummax(0).values.mean(1)
    share = ((best[-1] - best[-1 - window]) / (best[-1] - best[0]).clamp(min=1e-12)).item()
    yield _optimisation(
        "loss at rest",
        "suspicious" if share > e.thresholds.late_gain else "reliable",
        f"the last {window} steps made {share:.1%} of the rise of the loss of the robust images",
        "more steps: the attack was still getting better",
    )


@rule(order=170, passes=lambda e: e.cost_slow)
def check_stability(e: Examination) -> Iterator[Finding]:
    """Does the loss of unbroken images rise steadily, or oscillate?

    An average step of the second half may lose (steps that rise lose nothing) a fraction
    ``thresholds.unstable`` of the best iterate's gain over the first. A converged attack oscillates slightly
    around its maximum; where steps are too long, or the gradient is random or wrong, by as much as it gained.
    """
    if e.slow is None:
        return
    trace = e.slow.loss_trace[:, ~e.slow.success]
    if not trace.shape[1] or len(trace) < 5:
        yield _optimisation("stable loss", "reliable", "too few steps, or no image left, to judge by", "")
        return
    lost = (trace[:-1] - trace[1:]).clamp(min=0)[(len(trace) - 1) // 2 :].mean(0)
    rise = trace.amax(0) - trace[0]
    # where nothing moves there is nothing unstable; other rules see that
    share = torch.where(lost > 0, lost / rise.clamp(min=1e-12), 0).median().item()
    amount = f"{share:.1%} of" if share <= 1 else "more than"
    yield _optimisation(
        "stable loss",
        "suspicious" if share > e.thresholds.unstable else "reliable",
        f"an average late step loses {amount} the gain of the whole run, on the median robust image",
        "a smaller step size, momentum or apgd_ce; for a stochastic model, gradients over more passes (eot)",
    )


def _queries(e: Examination) -> int:
    return max(min(QUERIES, e.passes_taken or QUERIES), FEWEST_QUERIES)


def _queried(e: Examination) -> int:
    return e.cost_of_robust + _queries(e) * e.unbroken if _witness(e) else 0


def _witness(e: Examination) -> str | None:
    """The attack without gradients in the norm of the attack; ``None`` if there is none."""
    return next((name for name in ("square", "sparse_search") if knows_norm(name, e.attack.norm)), None)


@rule(order=210, passes=_queried)
def check_gradient_free(e: Examination) -> Iterator[Finding]:
    """Does an attack without gradients break images that gradients left robust?

    A single image is suspicious, where it is more than ``thresholds.gain``; several make it unreliable. An
    image takes at most as many queries as it took passes of the attacks, and never more than 300. Square
    knows no norms but L∞ and L2; in L0 there is the sparse search.
    """
    name = _witness(e)
    if name is None:
        return
    queries = _queries(e)
    square = create_attack(name, eps=e.attack.eps, norm=e.attack.norm, queries=queries)
    robust, gained = e.robust, 0
    if robust.any():
        gained = int(square(e.model, e.images[robust], e.labels[robust]).success.sum())
    level: Level = "suspicious" if gained / len(e) > e.thresholds.gain else "reliable"
    yield _optimisation(
        "witness without gradients",
        "unreliable" if gained > e.thresholds.allowed(len(e)) else level,
        f"{attack_words(name).title} ({queries} queries) breaks {gained} of the {int(robust.sum())} images "
        "that gradients left robust",
        "gradients are masked: an attack that does not use them is stronger",
        source="Carlini et al. 2019; Athalye et al. 2018",
    )
