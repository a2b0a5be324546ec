"""Running an attack; what comes from outside the library is checked and judged again before it is counted."""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from purespike.attacks.objective import reaching
from purespike.attacks.precision import achieved, misclassified
from purespike.attacks.protocol import Attack
from purespike.attacks.result import AttackResult
from purespike.ball import Ball
from purespike.errors import InputError
from purespike.models.guard import own_code
from purespike.scalars import plain


def run_attack(attack: Attack, model: nn.Module, images: Tensor, labels: Tensor) -> AttackResult:
    """The result of ``attack`` on ``model``.

    An attack of the library is taken at its word, which its tests hold it to. The result of any other class
    is checked, and its successes are judged again by ``model`` on exactly the images returned.

    Args:
        attack: attack whose result is asked for.
        model: images to logits.
        images: ``[N, C, H, W]`` floats in [0, 1].
        labels: true classes, ``[N]``.

    Raises:
        InputError: the images do not fit the attack; or an attack from outside fails, or returns something
            else than an :class:`AttackResult` of as many images, in [0, 1] and inside its budget.
    """
    if not from_outside(type(attack)):
        return attack(model, images, labels)
    with own_code(f"attack {attack.name}"):
        # copies: one that works in place changes neither the images nor what its result is measured by
        result = attack(model, images.clone(), labels.clone())
    return verified(result, attack, model, images, labels)


def from_outside(thing: Any) -> bool:
    """Whether a class or function was defined outside the library."""
    return (getattr(thing, "__module__", None) or "").partition(".")[0] != "purespike"


def verified(
    result: Any, attack: Attack, model: nn.Module, images: Tensor, labels: Tensor, *, maker: str = ""
) -> AttackResult:
    """``result`` with its successes as ``model`` judges exactly the images in it.

    Args:
        result: what was returned for an attack on these images.
        attack: the attack with its budget.
        model: images to logits.
        images: ``[N, C, H, W]`` floats in [0, 1].
        labels: true classes, ``[N]``.
        maker: name of what returned it, in messages; the attack's by default.

    Raises:
        InputError: no :class:`AttackResult` of as many images, in [0, 1] and inside the budget.
    """
    if fault := _fault(result, attack, images):
        raise InputError(f"{maker or f'attack {attack.name}'}: {fault}")
    return _judged(result, attack, model, images, labels)


def _fault(result: Any, attack: Attack, images: Tensor) -> str:
    """What is wrong with a result; empty if nothing is."""
    if not isinstance(result, AttackResult):
        return f"must return an AttackResult, got {type(result).__name__}"
    count = len(images)
    shapes = {"images": images.shape, "success": (count,), "best_step": (count,)}
    for name, expected in shapes.items():
        given = getattr(result, name)
        if not isinstance(given, Tensor) or given.shape != torch.Size(expected):
            got = list(given.shape) if isinstance(given, Tensor) else type(given).__name__
            return f"must return {name} of shape {list(expected)}, got {got}"
    for name in ("forwards", "backwards"):
        given = plain(getattr(result, name))
        if not isinstance(given, int) or given < 0:
            return f"must count its {name} in a whole number, got {given!r}"
    if result.targets is not None and (
        not isinstance(result.targets, Tensor) or result.targets.shape != torch.Size((count,))
    ):
        return f"must return no targets, or one class for each of {count} images"
    if not isinstance(result.warnings, tuple) or not all(isinstance(line, str) for line in result.warnings):
        return f"must return its warnings as a tuple of texts, got {result.warnings!r}"
    found = result.images.detach().to(images)
    if not found.isfinite().all():
        return "returned images that are not finite"
    if count and (found.min() < 0 or found.max() > 1):
        return f"returned images outside [0, 1], from {found.min().item():.4g} to {found.max().item():.4g}"
    eps = getattr(attack, "eps", None)
    if eps is None or attack.norm not in Ball.known or not count:
        return ""
    ball = Ball.parse(eps, attack.norm)
    farthest = ball.distance(found, images).max().item()
    if ball.contains(found, images).all():
        return ""
    return f"left its budget: an image lies {farthest:.6g} from its original, outside {ball}"


def _judged(
    result: AttackResult, attack: Attack, model: nn.Module, images: Tensor, labels: Tensor
) -> AttackResult:
    found, passes = result.images.detach().to(images), getattr(attack, "eot", 1)
    targeted, chosen = getattr(attack, "targeted", False), result.targets is not None
    aims = labels if result.targets is None else result.targets
    return replace(
        result,
        images=found,
        success=achieved(model, found, aims, reached=reaching(targeted=targeted), passes=passes),
        misclassified=misclassified(model, found, labels, passes=passes) if chosen else None,
        best_step=result.best_step.to(images.device),
        backwards=int(result.backwards),
        forwards=int(result.forwards) + len(images) * passes * (2 if chosen else 1),
    )
