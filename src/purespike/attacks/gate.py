"""Attacks on a model that rejects images: the margin of its gate stands behind the logits as one more column.

An attack wins only if the image passes the gate *and* is misclassified, so that it neither stops at the first
misclassification that is rejected nor loses sight of the class while it pleases the gate.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from purespike.attacks.objective import Objective, Reached, misses, objective, reaching
from purespike.errors import InputError, unknown
from purespike.scalars import parse_number

if TYPE_CHECKING:
    from purespike.attacks.gradient import SignAttack

SELECTIVE = "selective"
GATES = (SELECTIVE, "10", "1", "0.1")
"""The attacker's ways with a gate: the selective gradient, and a penalty of each of these weights."""


@dataclass(frozen=True)
class Goal:
    """What an attack climbs, and when it has won.

    Args:
        loss: outputs and labels to the loss of each image.
        reached: outputs and labels to whether the attack has won.
    """

    loss: Objective
    reached: Reached


def goal_of(attack: "SignAttack") -> Goal:
    """The goal of ``attack``; with a gate, to be accepted and misclassified."""
    loss = objective(attack.loss, targeted=attack.targeted)
    if attack.gate is None:
        return Goal(loss, reaching(targeted=attack.targeted))
    return Goal(gated(loss, attack.gate), passes_and_misses)


def passes_and_misses(outputs: Tensor, labels: Tensor) -> Tensor:
    """Whether each image passes the gate and is misclassified, bool ``[N]``.

    Args:
        outputs: logits, then the margin of the gate, not negative where an image passes; ``[N, K + 1]``.
        labels: true classes, ``[N]``.
    """
    return misses(outputs[:, :-1], labels) & (outputs[:, -1] >= 0)


def gated(loss: Objective, gate: str) -> Objective:
    r"""``loss`` of an attacker who has to pass a gate of margin g as well.

    With a number λ the penalised loss :math:`L - \lambda\,(-g)_+`. With ``"selective"`` a step is taken on
    the loss while the image is classified correctly, and on the margin while it is not (Bryniarski et al.
    2021 call this selective gradient descent).

    Args:
        loss: logits and labels to a value each.
        gate: λ as text, or ``"selective"``.

    Raises:
        InputError: neither.
    """
    check_gate(gate)
    if gate == SELECTIVE:
        return lambda outputs, labels: torch.where(
            misses(outputs[:, :-1], labels), outputs[:, -1], loss(outputs[:, :-1], labels)
        )
    weight = float(gate)
    return lambda outputs, labels: loss(outputs[:, :-1], labels) - weight * (-outputs[:, -1]).relu()


def check_gate(gate: str) -> str:
    """``gate``, if it is ``"selective"`` or a positive number as text.

    Raises:
        InputError: anything else.
    """
    if gate == SELECTIVE:
        return gate
    try:
        weight = parse_number(gate, name="gate")
    except InputError:
        raise unknown("way with a gate", str(gate), GATES) from None
    if not 0 < weight < float("inf"):
        raise InputError(f"gate: the weight of the penalty must be positive and finite, got {gate}")
    return gate
