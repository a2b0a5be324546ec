"""Whether a stochastic model was attacked, and judged, over enough of its draws (group D)."""

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor, nn

from purespike.attacks import AttackResult, SignAttack
from purespike.evaluation.diagnostics.determinism import TRAMER
from purespike.evaluation.diagnostics.examination import Examination
from purespike.evaluation.diagnostics.rule import rule
from purespike.models.answer import correct, logits_of
from purespike.results import Finding

ATHALYE = "Athalye et al. 2018, Synthesizing Robust Adversarial Examples"
SAMPLES = (1, 5, 20, 50)
PASSES = 10
# images with which expectations are compared, and gradient steps
EXPECTED, STEPS = 8, 10


def _judging(e: Examination) -> int:
    return e.cost_as_run + len(e) * max(e.passes, PASSES) if e.stochastic else 0


@rule(order=120, passes=_judging)
def check_passes(e: Examination) -> Iterator[Finding]:
    """Is the score of a stochastic model one of at least ten passes, and how far do they scatter?"""
    if not e.stochastic:
        return
    scores = _right(e.model, e.as_run, e.labels, max(e.passes, PASSES)).mean(1)
    yield Finding(
        name="score over passes",
        group="defence",
        level="suspicious" if e.passes < PASSES else "reliable",
        message=f"accuracy of {len(e)} attacked images in {len(scores)} passes: {scores.mean().item():.1%} ± "
        f"{scores.std().item():.1%}, from {scores.min().item():.1%} to {scores.max().item():.1%}; the "
        f"evaluation judged over {e.passes}",
        advice=f"judge each image over at least {PASSES} passes",
        source=TRAMER,
    )


def _averages(e: Examination) -> dict[int, SignAttack]:
    """The attack by the number of passes that it averages."""
    attack = replace(e.side, steps=min(e.side.steps, STEPS))
    return {eot: replace(attack, eot=eot) for eot in sorted({*SAMPLES, e.attack.eot})}


def _averaging(e: Examination) -> int:
    if not e.stochastic:
        return 0
    count, attacks = min(len(e), EXPECTED), _averages(e).values()
    return sum(e.cost(attack, count, routes=e.routes) + count * PASSES for attack in attacks)


@rule(order=130, passes=_averaging)
def check_expectation(e: Examination) -> Iterator[Finding]:
    """Would gradients averaged over more passes break more than those of the attack?

    Each number of passes is judged by the share of ten further passes in which an image is right, averaged
    over images: a stochastic model has no other accuracy.
    """
    if not e.stochastic:
        return
    model, images, labels = e.first(EXPECTED)
    accuracy = {}
    for eot, attack in _averages(e).items():
        result = e.attacker(attack)(model, images, labels)
        accuracy[eot] = _right(model, result, labels).mean().item()
    most = max(accuracy)
    behind = accuracy[e.attack.eot] - accuracy[most]
    numbers = ", ".join(f"{value:.1%} over {eot}" for eot, value in accuracy.items())
    yield Finding(
        name="expectation over randomness",
        group="defence",
        level="suspicious" if behind * len(images) > e.thresholds.allowed(len(images)) else "reliable",
        message=f"robust accuracy of {len(images)} images with gradients averaged: {numbers} passes; the "
        f"attack averages {e.attack.eot}",
        advice=f"average the gradient over more passes (eot={most})",
        source=ATHALYE,
        remedy={"eot": most},
    )


@torch.no_grad()
def _right(model: nn.Module, result: AttackResult, labels: Tensor, passes: int = PASSES) -> Tensor:
    """``[passes, N]``, 1.0 where right."""
    return torch.stack([correct(logits_of(model, result.images), labels).float() for _ in range(passes)])
