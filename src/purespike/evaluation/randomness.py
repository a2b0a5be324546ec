"""Whether a model that draws was attacked, and judged, over enough of its draws (group D)."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from purespike.attacks import AttackResult, SignAttack
from purespike.evaluation.convergence import Attacker
from purespike.evaluation.determinism import TRAMER
from purespike.evaluation.finding import DEFAULT_LIMITS, Finding, Limits

ATHALYE = "Athalye et al. 2018, Synthesizing Robust Adversarial Examples"
SAMPLES = (1, 5, 20, 50)
PASSES = 10


def check_expectation(
    attacker: Callable[[SignAttack], Attacker],
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    attack: SignAttack,
    samples: Sequence[int] = SAMPLES,
    limits: Limits = DEFAULT_LIMITS,
) -> Finding:
    """Would gradients averaged over more passes break more than those of the attack?

    Each number of passes is judged by the share of ten further passes in which an image is right, averaged
    over images: a model that draws has no other accuracy.

    Args:
        attacker: what runs an attack of given settings, e.g. over an ensemble of surrogates.
        model: images to logits, drawing from the global generators.
        images: some that the model classifies correctly, ``[N, C, H, W]``.
        labels: their classes.
        attack: the one whose number is to be judged; what it averages is compared with the most of
            ``samples``.
        samples: passes to average.
        limits: what is still accepted.
    """
    accuracy = {}
    for eot in sorted({*samples, attack.eot}):
        result = attacker(replace(attack, eot=eot))(model, images, labels)
        accuracy[eot] = _right(model, result, labels).mean().item()
    most = max(accuracy)
    behind = accuracy[attack.eot] - accuracy[most]
    numbers = ", ".join(f"{value:.1%} over {eot}" for eot, value in accuracy.items())
    return Finding(
        "expectation over randomness",
        "defence",
        "suspicious" if behind * len(images) > limits.allowed(len(images)) else "reliable",
        f"robust accuracy of {len(images)} images with gradients averaged: {numbers} passes; the attack "
        f"averages {attack.eot}",
        f"average the gradient over more passes (eot={most})",
        ATHALYE,
        {"eot": most},
    )


def check_passes(model: nn.Module, result: AttackResult, labels: Tensor, *, passes: int) -> Finding:
    """Is the score of a model that draws one of at least ten passes, and how far do they scatter?

    Args:
        model: images to logits, drawing from the global generators.
        result: of the attack that is judged.
        labels: true classes, ``[N]``.
        passes: over which the evaluation judged each image.
    """
    scores = _right(model, result, labels, max(passes, PASSES)).mean(1)
    return Finding(
        "score over passes",
        "defence",
        "suspicious" if passes < PASSES else "reliable",
        f"robust accuracy of {len(labels)} images in {len(scores)} passes: {scores.mean().item():.1%} ± "
        f"{scores.std().item():.1%}, from {scores.min().item():.1%} to {scores.max().item():.1%}; the "
        f"evaluation judged over {passes}",
        f"judge each image over at least {PASSES} passes",
        TRAMER,
    )


@torch.no_grad()
def _right(model: nn.Module, result: AttackResult, labels: Tensor, passes: int = PASSES) -> Tensor:
    """``[passes, N]``, 1.0 where right."""
    return torch.stack([(model(result.images).argmax(1) == labels).float() for _ in range(passes)])
