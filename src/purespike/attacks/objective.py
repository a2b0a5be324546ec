"""Losses that attacks maximise, and the state of a model while it is attacked."""

import contextlib
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional

from purespike.errors import InputError, unknown
from purespike.models.answer import correct
from purespike.models.guard import guarded
from purespike.modes import frozen, mode, outside_inference_mode

Objective = Callable[[Tensor, Tensor], Tensor]
"""Logits and labels to a value each, ``[N]``."""
Reached = Callable[[Tensor, Tensor], Tensor]
"""Logits and labels to whether an attack has reached its goal with each image, bool ``[N]``."""


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy per sample, ``[N]``."""
    return functional.cross_entropy(logits, labels, reduction="none")


def margin(logits: Tensor, labels: Tensor) -> Tensor:
    """Best wrong logit minus the true one, ``[N]``; positive only where misclassified, 0 on a tie.

    Unlike cross-entropy its gradient does not vanish when logits are large (Carlini & Wagner 2017, f6).
    """
    true = logits.gather(1, labels[:, None]).squeeze(1)
    others = logits.scatter(1, labels[:, None], -torch.inf)
    return others.amax(1) - true


OBJECTIVES: dict[str, Objective] = {"ce": cross_entropy, "margin": margin}


def objective(name: str, *, targeted: bool = False) -> Objective:
    """The loss called ``name``, ``"ce"`` or ``"margin"``; of a targeted attack its negative at the target.

    Raises:
        InputError: unknown name.
    """
    if name not in OBJECTIVES:
        raise unknown("attack loss", name, OBJECTIVES)
    loss = OBJECTIVES[name]
    return (lambda logits, targets: -loss(logits, targets)) if targeted else loss


def misses(logits: Tensor, labels: Tensor) -> Tensor:
    """Whether each image is misclassified, bool ``[N]``."""
    return ~correct(logits, labels)


def reaching(*, targeted: bool) -> Reached:
    """The goal of an attack: to be misclassified, or to be taken for the target."""
    return correct if targeted else misses


def input_gradient(losses: Tensor, images: Tensor) -> Tensor:
    """Gradient of the sum of ``losses`` in ``images``, same shape; zero where autograd finds no path.

    An attack on a model that is detached from its images leaves them as they are, and says so.
    """
    gradient = gradient_if_any(losses, images)
    return torch.zeros_like(images) if gradient is None else gradient


def gradient_if_any(losses: Tensor, images: Tensor) -> Tensor | None:
    """Gradient of the sum of ``losses`` in ``images``; ``None`` where autograd finds no path."""
    if not losses.requires_grad:
        return None
    (gradient,) = torch.autograd.grad(losses.sum(), images, allow_unused=True)
    return gradient


def finite(gradient: Tensor) -> tuple[Tensor, Tensor]:
    """``gradient`` with zero for every entry that is not finite, and the number of these as a tensor."""
    return gradient.nan_to_num(nan=0, posinf=0, neginf=0), (~gradient.isfinite()).sum()


@contextlib.contextmanager
def frozen_eval(model: nn.Module) -> Iterator[None]:
    """Evaluation mode and frozen parameters inside, outside inference mode; the former state on any exit.

    Frozen parameters keep autograd from computing gradients that no attack uses. Failures of the model name
    it, see :func:`~purespike.models.guard.guarded`.

    Raises:
        InputError: parameters that were made in inference mode, or are on the meta device.
    """
    check_differentiable(model)
    with guarded(model), frozen(model), outside_inference_mode(), mode(model, training=False):
        yield


def check_differentiable(model: nn.Module) -> None:
    """Refuse a model that autograd cannot work with.

    Raises:
        InputError: its parameters were made in inference mode.
    """
    if any(parameter.is_inference() for parameter in model.parameters()):
        raise InputError(
            f"{type(model).__name__}: its weights were made inside torch.inference_mode, where nothing can "
            "be differentiated; create or load the model outside"
        )


def leads(outputs: Tensor, inputs: Tensor) -> bool:
    """Whether autograd finds a path from ``outputs`` to ``inputs``, no leaf; nothing is computed."""
    seen, left = set(), [outputs.grad_fn]
    while left:
        node = left.pop()
        if node is None or node in seen:
            continue
        if node is inputs.grad_fn:
            return True
        seen.add(node)
        left += [following for following, _ in node.next_functions]
    return False
