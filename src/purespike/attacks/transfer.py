"""The transfer attacker, who has a model of its own: images made against a substitute, sent to the target."""

from dataclasses import fields, replace
from typing import Any

import torch
from torch import Tensor, nn

from purespike.attacks.objective import frozen_eval, reaching
from purespike.attacks.precision import achieved
from purespike.attacks.protocol import Attack
from purespike.attacks.result import AttackResult
from purespike.attacks.run import run_attack
from purespike.checks import check_images, check_labels
from purespike.errors import InputError
from purespike.models.fit import check_fit


def transfer(
    substitute: nn.Module, target: nn.Module, images: Tensor, labels: Tensor, *, attack: Attack
) -> AttackResult:
    """Attack ``substitute`` at full strength, and count the images that ``target`` misclassifies.

    The source is Papernot et al. 2017. An image that the target misclassifies without any attack is broken
    already and is returned unchanged. C&W and FAB look for the nearest image that their model just
    misclassifies, which seldom deceives another: to transfer, PGD is the stronger choice, or C&W with a
    confidence.

    Args:
        substitute: the attacker's model, images to logits; differentiated.
        target: images to logits; never differentiated.
        images: ``[N, C, H, W]`` floats in [0, 1].
        labels: true classes, ``[N]``.
        attack: attack on the substitute, run as :func:`full_strength` has it.

    Returns:
        The attack's result on the substitute, with ``success`` judged by the target on exactly ``images``,
        and its forwards counted as well.

    Raises:
        InputError: images that do not fit both models, labels that are no classes of both, or an error of
            ``attack``.
    """
    check_images(images)
    labels = check_labels(labels, count=len(images))
    check_pair(substitute, target, images, labels)
    crafted = run_attack(full_strength(attack), substitute, images, labels)
    chosen = crafted.targets
    # where the attack chose its targets, labels are the true classes
    aims_at_labels = getattr(attack, "targeted", False) and chosen is None
    with frozen_eval(target):
        done = achieved(target, images, labels, reached=reaching(targeted=aims_at_labels))
        broken, sent = done.clone(), crafted.images.clone()
        sent[done] = images[done].to(sent)
        if not done.all():
            broken[~done] = achieved(
                target, sent[~done], labels[~done], reached=reaching(targeted=aims_at_labels)
            )
        success = (
            broken if chosen is None else achieved(target, sent, chosen, reached=reaching(targeted=True))
        )
    judged = len(images) + int((~done).sum()) + (0 if chosen is None else len(images))
    return replace(
        crafted,
        images=sent,
        success=success,
        misclassified=None if chosen is None else broken,
        best_step=crafted.best_step.masked_fill(done, 0),
        forwards=crafted.forwards + judged,
    )


def full_strength(attack: Attack) -> Attack:
    """``attack`` without leaving at the first success, and with its best iterate kept.

    An image that the substitute just misclassifies is likely to be right on the target.
    """
    wanted = {"stop_early": False, "keep": "best"}
    settings: dict[str, Any] = {one.name: wanted[one.name] for one in fields(attack) if one.name in wanted}
    return replace(attack, **settings)


def check_pair(substitute: nn.Module, target: nn.Module, images: Tensor, labels: Tensor) -> None:
    """See that both models take these images and know these classes.

    Raises:
        InputError: one does not; the message says which.
    """
    if not len(images):
        raise InputError("transfer: no images")
    for role, model in (("substitute", substitute), ("target", target)):
        try:
            with torch.autocast(images.device.type, enabled=False):
                check_fit(model, images[:1], labels)
        except InputError as error:
            raise InputError(
                f"transfer: the {role} does not fit: {error}; "
                "substitute and target must take the same images and know the same classes"
            ) from error
