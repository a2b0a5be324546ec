"""Expectation over transformation only where there is something to average."""

from dataclasses import replace
from typing import TypeVar

import torch
from torch import Tensor, nn

from purespike.attacks.precision import full_precision_logits
from purespike.attacks.protocol import Attack
from purespike.seeding import seeded

# images that decide whether a model is stochastic
SEEN = 8

A = TypeVar("A", bound=Attack)


def without_needless_passes(
    attack: A, model: nn.Module, images: Tensor, *, eot: int
) -> tuple[A, tuple[str, ...], int]:
    """``attack`` with one pass per gradient in place of ``eot`` if ``model`` is deterministic.

    Args:
        attack: an attack with the setting ``eot``.
        model: images to logits, in the mode in which it is attacked.
        images: ``[N, C, H, W]``.
        eot: passes that ``attack`` averages.

    Returns:
        The attack, a line that says so, and the number of images passed through the model to find out.
    """
    seen = images[:SEEN]
    if eot == 1 or not len(seen):
        return attack, (), 0
    answers: list[Tensor] = []
    with seeded("expectation", device=images.device):
        before = _states(images)
        for _ in range(eot):
            answers.append(full_precision_logits(model, seen))
            if any(not torch.equal(a, b) for a, b in zip(before, _states(images), strict=True)):
                # it draws: that other logits came of it need not be seen
                return attack, (), len(answers) * len(seen)
    asked = eot * len(seen)
    if any(not torch.equal(answer, answers[0]) for answer in answers):
        return attack, (), asked
    line = f"the model is deterministic: one gradient was taken in place of {eot} equal ones (eot)"
    return replace(attack, eot=1), (line,), asked


def _states(images: Tensor) -> list[Tensor]:
    states = [torch.get_rng_state()]
    return states + ([torch.cuda.get_rng_state(images.device)] if images.is_cuda else [])
