"""Targeted attacks: the classes that images are to be taken for, given or chosen."""

from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

import torch
from torch import Tensor, nn

from purespike.attacks.precision import full_precision_logits, misclassified
from purespike.attacks.protocol import Attack
from purespike.attacks.result import AttackResult
from purespike.checks import check_labels
from purespike.errors import InputError, unknown
from purespike.seeding import derive, digest

CHOICES = ("next", "random", "least_likely")

A = TypeVar("A", bound=Attack)


def check_target(targeted: bool, target: str | None) -> None:
    """See that ``target`` is a choice of targets, of a targeted attack; ``None`` is always right.

    Raises:
        InputError: it is not.
    """
    if target is None:
        return
    if target not in CHOICES:
        raise unknown("target", str(target), CHOICES)
    if not targeted:
        raise InputError("target: a setting of targeted attacks; set targeted=true or leave it out")


def choose_targets(target: str, model: nn.Module, images: Tensor, labels: Tensor, *, seed: int) -> Tensor:
    """One wrong class per image, ``[N]``.

    Args:
        target: ``"next"``, the class after the true one; ``"random"``, any wrong class, a function of
            the image and the seed; ``"least_likely"``, the wrong class of the clean image's lowest logit.
        model: images to logits; passed all images for ``"least_likely"``, else the first one.
        images: ``[N, C, H, W]``.
        labels: true classes, ``[N]``.
        seed: seed of the random targets.

    Raises:
        InputError: labels that are no classes of the model, or a model of a single class.
    """
    if not len(images):
        return labels
    logits = full_precision_logits(model, images if target == "least_likely" else images[:1])
    classes = logits.shape[1]
    check_labels(labels, count=len(images), classes=classes)
    if classes < 2:
        raise InputError("target: the model has a single class, there is none to aim at")
    if target == "least_likely":
        return logits.scatter(1, labels[:, None], torch.inf).argmin(1)
    steps = torch.ones_like(labels)
    if target == "random":
        draws = [derive(seed, "target", digest(image)) % (classes - 1) for image in images]
        steps += torch.tensor(draws, device=labels.device)
    return (labels + steps) % classes


def aimed(
    run: Callable[[A, nn.Module, Tensor, Tensor], AttackResult],
    attack: A,
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    target: str | None,
    passes: int = 1,
) -> AttackResult:
    """``run`` the attack on ``labels``, or on the targets chosen if ``labels`` are the true classes.

    Args:
        run: a targeted attack if ``target`` is given.
        attack: passed on to ``run``.
        model: images to logits.
        images: ``[N, C, H, W]``.
        labels: targets or true classes, ``[N]``.
        target: choice of targets; ``None`` for an untargeted attack, or if ``labels`` are the targets.
        passes: forward passes over which a stochastic model is judged.
    """
    if target is None:
        return run(attack, model, images, labels)
    targets = choose_targets(target, model, images, labels, seed=attack.seed)
    result = run(attack, model, images, targets)
    # an image that missed its target may be misclassified all the same
    wrong, missed = result.success.clone(), ~result.success
    if missed.any():
        wrong[missed] = misclassified(model, result.images[missed], labels[missed], passes=passes)
    asked = len(images) if target == "least_likely" else min(1, len(images))
    forwards = result.forwards + asked + int(missed.sum()) * passes
    return replace(result, targets=targets, misclassified=wrong, forwards=forwards)
