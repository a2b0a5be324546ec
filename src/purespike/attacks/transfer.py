"""The attacker who has a model of its own: images made against a substitute, sent to the target."""

from dataclasses import fields, replace
from typing import Any

import torch
from torch import Tensor, nn

from purespike.attacks.objective import attacked
from purespike.attacks.precision import misclassified
from purespike.attacks.registry import Attack
from purespike.attacks.result import AttackResult
from purespike.checks import check_images, check_labels
from purespike.errors import InputError
from purespike.models.predict import check_fit


def transfer(
    substitute: nn.Module, target: nn.Module, images: Tensor, labels: Tensor, *, attack: Attack
) -> AttackResult:
    """Attack ``substitute`` at full strength, and see which of the images ``target`` misclassifies.

    The source is Papernot et al. 2017. An image that the target misclassifies as it is has fallen already and
    is returned unchanged. C&W and FAB look for the nearest image that their model just misclassifies, which
    seldom deceives another: to transfer, PGD is the stronger choice, or C&W with a confidence.

    Args:
        substitute: the attacker's model, images to logits; differentiated.
        target: images to logits; only asked what it answers.
        images: ``[N, C, H, W]`` floats in [0, 1].
        labels: true classes, ``[N]``.
        attack: run on the substitute as :func:`full_strength` has it.

    Returns:
        The attack's result on the substitute, with ``success`` judged by the target on exactly ``images``,
        and its forwards counted as well.

    Raises:
        InputError: images that do not fit both models, labels that are no classes of both, or what ``attack``
            raises.
    """
    check_images(images)
    labels = check_labels(labels, count=len(images))
    check_pair(substitute, target, images, labels)
    crafted = full_strength(attack)(substitute, images, labels)
    with attacked(target):
        fallen = misclassified(target, images, labels)
        success, sent = fallen.clone(), crafted.images.clone()
        sent[fallen] = images[fallen].to(sent)
        if not fallen.all():
            success[~fallen] = misclassified(target, sent[~fallen], labels[~fallen])
    return replace(
        crafted,
        images=sent,
        success=success,
        best_step=crafted.best_step.masked_fill(fallen, 0),
        forwards=crafted.forwards + len(images) + int((~fallen).sum()),
    )


def full_strength(attack: Attack) -> Attack:
    """``attack`` without leaving at the first success, and with its best iterate kept.

    What just misses being right on the substitute is likely to be right on the target.
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
