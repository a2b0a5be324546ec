"""The attacks of AutoAttack one after the other, by pyautoattack: each on the images still robust."""

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from purespike.attacks.expectation import without_needless_passes
from purespike.attacks.library import Component, captured_output, library
from purespike.attacks.objective import margin
from purespike.attacks.precision import full_precision_logits
from purespike.attacks.protocol import settings_of
from purespike.attacks.result import AttackResult
from purespike.attacks.victim import Victim
from purespike.ball import Ball
from purespike.checks import check_labels
from purespike.errors import InputError
from purespike.models.answer import correct

if TYPE_CHECKING:
    from purespike.attacks.autoattack import AutoAttack

__all__ = ["NORMS", "into_ball", "library", "run"]

# as the library calls them
NORMS = {"linf": "Linf", "l2": "L2"}
# Square's budget in AutoAttack
QUERIES = 5000
# the clean image, the start, and the verdict on it
LEAST_QUERIES = 3


def run(attack: "AutoAttack", model: nn.Module, images: Tensor, labels: Tensor) -> AttackResult:
    """Attack; the library looks for images, and this function judges exactly those that it returns."""
    count, config, seed = len(images), settings_of(attack), attack.seed
    logits = full_precision_logits(model, images)
    check_labels(labels, count=count, classes=logits.shape[1])
    if reason := attack.unfit(images, logits.shape[1]):
        raise InputError(f"{attack.name}: {reason}")
    success, found = ~correct(logits, labels), images.clone()
    victim = Victim(model, images.dtype)
    victim.finite = bool(logits.isfinite().all())
    eot = attack.eot or 1
    attack, lines, asked = without_needless_passes(attack, model, images[~success], eot=eot)
    forwards, messages = count + asked, list(lines)
    if attack.differentiates and not success.all():
        _check(attack, victim, images[~success], labels[~success], messages)
    for name in attack.attacks:
        if name == "square" and attack.queries < LEAST_QUERIES:
            messages.append(
                f"square: nothing was searched: {LEAST_QUERIES} queries are the fewest, those of the clean "
                "image, the start and the verdict"
            )
            continue
        rows = (~success).nonzero().squeeze(1)
        for start in range(attack.restarts if name == "square" else 1):
            if not len(rows):
                break
            component = Component(name, victim, _built(attack, name, victim, logits.shape[1], images.device))
            tried = _search(attack, component, images[rows], labels[rows], start, messages)
            success[rows] = ~correct(full_precision_logits(model, tried), labels[rows])
            forwards += len(rows)
            found[rows[success[rows]]] = tried[success[rows]]
            rows = rows[~success[rows]]
    return AttackResult(
        images=found,
        success=success,
        best_step=torch.zeros(count, dtype=torch.long, device=images.device),
        loss_trace=margin(logits, labels)[None],
        forwards=forwards + victim.forwards,
        backwards=victim.backwards,
        config=config,
        seed=seed,
        warnings=tuple(dict.fromkeys([*messages, *victim.complaints()])),
    )


def _check(attack: "AutoAttack", victim: Victim, images: Tensor, labels: Tensor, messages: list[str]) -> None:
    """The library's own checks: is the model stochastic, are its outputs logits, does it change itself?"""
    checks = library().checks
    start = images.float().contiguous()
    # calls seen in the model of a former evaluation are still counted
    checks.funcs.update(dict.fromkeys(checks.funcs, 0))
    with captured_output(messages) as logger:
        # for "rand" the library does not check whether the model is stochastic
        if attack.version != "rand":
            checks.check_randomized(victim, start, labels, logger=logger)
        checks.check_range_output(victim, start, logger=logger)
        checks.check_dynamic(victim, start, logger=logger)


def _built(attack: "AutoAttack", name: str, victim: Victim, classes: int, device: torch.device) -> Any:
    """The library's object for one attack."""
    made = library()
    common = {"eps": attack.eps, "norm": NORMS[attack.norm], "seed": attack.seed, "device": device}
    common["verbose"] = False
    targets = min(9, classes - 1)
    match name:
        case "square":
            # in a smaller budget than AutoAttack's the squares shrink at the same shares of it
            rescaled = attack.queries < QUERIES
            return made.square.SquareAttack(victim, n_restarts=1, resc_schedule=rescaled, **common)
        case "fab" | "fab-t":
            targeted = name == "fab-t"
            return made.fab_pt.FABAttack_PT(
                victim,
                n_restarts=1 if targeted else attack.restarts,
                n_iter=attack.steps,
                targeted=targeted,
                n_target_classes=targets,
                **common,
            )
    apgd = {"n_iter": attack.steps, "n_restarts": attack.restarts, "eot_iter": attack.eot, **common}
    if name == "apgd-t":
        return made.autopgd_base.APGDAttack_targeted(victim, n_target_classes=targets, **apgd)
    return made.autopgd_base.APGDAttack(victim, loss=name.removeprefix("apgd-"), **apgd)


def _search(
    attack: "AutoAttack",
    component: Component,
    images: Tensor,
    labels: Tensor,
    start: int,
    messages: list[str],
) -> Tensor:
    """Images that the library finds, in bounds; the others come back as they are."""
    # it takes gradients apart with view, so no other layout will do
    clean = images.float().contiguous()
    with captured_output(messages):
        # the clean image and the verdict are queries, too
        found = component.search(clean, labels, queries=attack.queries - 2, parts=(attack.seed, start))
    found = found.detach()
    # a NaN is a pixel left as it was
    found = torch.where(found.isnan(), clean, found)
    changed = (found != clean).flatten(1).any(1).view(-1, 1, 1, 1)
    return torch.where(changed, into_ball(found, images, Ball.parse(attack.eps, attack.norm)), images)


def into_ball(adversarial: Tensor, clean: Tensor, ball: Ball) -> Tensor:
    """``adversarial`` in the type of ``clean``, in [0, 1] and, where it is not, moved back into ``ball``.

    An excess within the rounding of float32 is left alone.
    """
    rounded = adversarial.to(clean.dtype).clamp(0, 1)
    inside = ball.contains(rounded, clean).view(-1, 1, 1, 1)
    return torch.where(inside, rounded, ball.project(adversarial, clean))
