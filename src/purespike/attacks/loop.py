"""The loop of gradient steps, and the record of the best iterate of each image."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from purespike.attacks.gate import goal_of
from purespike.attacks.iterate import IterateInfo, evaluate_iterate
from purespike.attacks.precision import achieved, gradients_in, is_reduced_precision
from purespike.attacks.protocol import settings_of
from purespike.attacks.result import AttackResult, merge, remarks
from purespike.attacks.spsa import spsa_gradient
from purespike.attacks.steps import Ascent, permitted, step_sizes
from purespike.attacks.watching import Sighting, watcher
from purespike.checks import check_labels
from purespike.models.answer import logits_of
from purespike.seeding import derive, generator

if TYPE_CHECKING:
    from purespike.attacks.gradient import SignAttack


TOGETHER = 32
"""Images that several starts of the same ones may make together, where the batch is no larger."""


def run(attack: "SignAttack", model: nn.Module, images: Tensor, labels: Tensor) -> AttackResult:
    """Attack from every start; each meets the images on which the former ones failed.

    Starts of the last few images are one batch: a step of few images costs about as much as one of many.
    """
    result, restart = _run(attack, model, images, labels, start(attack, images)), 1
    while restart < attack.restarts:
        rows = (~result.success).nonzero().squeeze(1)
        if not len(rows):
            break
        # probes of SPSA are drawn for a batch
        room = max(len(images), TOGETHER) // len(rows) if attack.differentiates else 1
        others = range(restart, min(restart + room, attack.restarts))
        again = [replace(attack, seed=derive(attack.seed, "restart", each)) for each in others]
        result = merge(result, _first_success(again, model, images[rows], labels[rows]), rows)
        restart += len(again)
    return replace(result, seed=attack.seed)


def _first_success(
    attacks: Sequence["SignAttack"], model: nn.Module, images: Tensor, labels: Tensor
) -> AttackResult:
    """Of attacks that differ in their starts alone, for each image the first that succeeds, or the last."""
    count = len(attacks)
    starts = torch.cat([start(attack, images) for attack in attacks])
    copies = images.repeat(count, *[1] * (images.ndim - 1)), labels.repeat(count)
    found = _run(attacks[0], model, *copies, starts)
    failed = (found.success.view(count, -1).cumsum(0) == 0).sum(0).clamp(max=count - 1)
    rows = failed * len(images) + torch.arange(len(images), device=images.device)
    chosen = {name: getattr(found, name)[rows] for name in ("images", "success", "best_step")}
    return replace(found, **chosen, loss_trace=found.loss_trace[:, rows])


def _run(
    attack: "SignAttack", model: nn.Module, images: Tensor, labels: Tensor, iterate: Tensor
) -> AttackResult:
    record = _Record(attack, model, images, labels)
    # rows of the batch that are still attacked, and their current state
    rows, clean = torch.arange(len(images), device=images.device), images
    stepper, tell = Stepper(attack, model, images), watcher()
    for step in range(attack.steps + 1 if len(images) else 0):
        info = evaluate(attack, model, iterate, labels[rows], step)
        success = record.offer(step, rows, iterate, info)
        if tell is not None:
            tell(Sighting(step, rows, iterate, info.losses, success))
        if step == attack.steps:
            break
        gradient = info.gradient
        if attack.stop_early and success.any():
            stay = ~success
            rows, clean, iterate = rows[stay], clean[stay], iterate[stay]
            gradient = None if gradient is None else gradient[stay]
            stepper.ascent.keep_rows(stay)
            if not len(rows):
                break
        iterate = stepper(step, clean, iterate, labels[rows], gradient)
    return record.result(stepper)


def perturb(attack: "SignAttack", model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """The last iterate, without a forward that would say whether it succeeds."""
    iterate, stepper = start(attack, images), Stepper(attack, model, images)
    for step in range(attack.steps):
        gradient = None
        if attack.differentiates:
            gradient = evaluate(attack, model, iterate, labels, step).gradient
        iterate = stepper(step, images, iterate, labels, gradient)
    return iterate


def start(attack: "SignAttack", images: Tensor) -> Tensor:
    """The first iterate."""
    if not attack.random_start:
        return images
    return permitted(attack.rule, attack.ball.sample(images, seed=attack.seed), images)


def evaluate(
    attack: "SignAttack", model: nn.Module, iterate: Tensor, labels: Tensor, step: int
) -> IterateInfo:
    """Loss, success and, before the last iterate, the gradient by autograd."""
    goal = goal_of(attack)
    return evaluate_iterate(
        model,
        iterate,
        labels,
        loss=goal.loss,
        reached=goal.reached,
        differentiate=attack.differentiates and step < attack.steps,
        passes=attack.eot,
        precision=attack.precision,
        check=step == 0,
    )


class Stepper:
    """Takes the steps of one start; estimates by SPSA the gradients that it is not given."""

    def __init__(self, attack: "SignAttack", model: nn.Module, images: Tensor) -> None:
        self.attack, self.model = attack, model
        self.ascent = Ascent(images, ball=attack.ball, rule=attack.rule, momentum=attack.momentum)
        self.sizes = step_sizes(attack.step_length, steps=attack.steps, schedule=attack.schedule)
        self.directions = generator(attack.seed, "spsa")
        self.probes = 0
        self.unbounded = torch.zeros((), dtype=torch.long, device=images.device)

    def __call__(
        self, step: int, clean: Tensor, iterate: Tensor, labels: Tensor, gradient: Tensor | None
    ) -> Tensor:
        if gradient is None:
            gradient = self._estimate(iterate, labels)
        return self.ascent(clean, iterate, gradient, self.sizes[step])

    def _estimate(self, images: Tensor, labels: Tensor) -> Tensor:
        attack = self.attack
        assert attack.samples is not None and attack.delta is not None

        def loss(probes: Tensor) -> Tensor:
            with gradients_in(attack.precision, probes):
                logits = logits_of(self.model, probes)
            check_labels(labels, count=len(probes), classes=logits.shape[1])
            losses = goal_of(attack).loss(logits, labels)
            self.unbounded += (~losses.isfinite()).sum()
            return losses

        samples = attack.samples * attack.eot
        self.probes += 2 * samples * len(images)
        return spsa_gradient(loss, images, samples=samples, delta=attack.delta, generator=self.directions)


class _Record:
    """The best iterate of each image so far, its step and its loss, and the trace of all losses."""

    def __init__(self, attack: "SignAttack", model: nn.Module, images: Tensor, labels: Tensor) -> None:
        count, device = len(images), images.device
        self.attack, self.model, self.labels = attack, model, labels
        self.images = images.clone()
        self.loss = torch.full((count,), -torch.inf, device=device)
        self.step = torch.zeros(count, dtype=torch.long, device=device)
        self.success = torch.zeros(count, dtype=torch.bool, device=device)
        self.trace = torch.full((attack.steps + 1, count), torch.nan, device=device)
        self.forwards = self.backwards = 0
        self.dropped = torch.zeros((), dtype=torch.long, device=device)
        self.unbounded = torch.zeros_like(self.dropped)
        self.reached = True
        # successes in half precision are judged once more
        self.verify = is_reduced_precision(attack.precision, images)

    def offer(self, step: int, rows: Tensor, iterate: Tensor, info: IterateInfo) -> Tensor:
        """Keep the iterates of ``rows`` that beat those kept; return which succeed, bool ``[rows]``."""
        self.forwards += len(rows) * self.attack.eot
        self.backwards += 0 if info.gradient is None else len(rows) * self.attack.eot
        self.unbounded += (~info.losses.isfinite()).sum()
        self.reached = self.reached and info.reached
        if info.dropped is not None:
            self.dropped += info.dropped
        if self.loss.dtype != info.losses.dtype:
            # a float64 model has losses that float32 cannot tell apart
            self.loss, self.trace = self.loss.to(info.losses.dtype), self.trace.to(info.losses.dtype)
        self.trace[step, rows] = info.losses
        success = info.success
        better = self._better(step, rows, info.losses, success)
        if self.verify and (doubtful := better & success).any():
            success = success.clone()
            success[doubtful] = self._judge(iterate[doubtful], rows[doubtful])
            better = self._better(step, rows, info.losses, success)
        chosen = rows[better]
        self.images[chosen], self.loss[chosen] = iterate[better], info.losses[better]
        self.step[chosen], self.success[chosen] = step, success[better]
        return success

    def _better(self, step: int, rows: Tensor, losses: Tensor, success: Tensor) -> Tensor:
        """Which iterates take the place of the best so far, bool ``[rows]``."""
        attack = self.attack
        if attack.keep == "last" and step == attack.steps:
            return torch.ones_like(success)
        if attack.keep == "last" or step == 0:
            return success if attack.stop_early else torch.zeros_like(success)
        # a success beats any other; within a kind, the higher loss. `~ <=` lets NaN in.
        known = self.success[rows]
        return (success & ~known) | ((success == known) & ~(losses <= self.loss[rows]))

    def _judge(self, images: Tensor, rows: Tensor) -> Tensor:
        attack = self.attack
        self.forwards += len(images) * attack.eot
        labels = self.labels[rows]
        reached = goal_of(attack).reached
        return achieved(self.model, images, labels, reached=reached, passes=attack.eot)

    def result(self, stepper: Stepper) -> AttackResult:
        """The result of one start, whose ``stepper`` may have made forwards besides those recorded."""
        if self.verify and not self.success.all():
            # a failure in half precision may be a success
            left = (~self.success).nonzero().squeeze(1)
            self.success[left] = self._judge(self.images[left], left)
        return AttackResult(
            self.images,
            self.success,
            self.step,
            self.trace,
            self.forwards + stepper.probes,
            self.backwards,
            settings_of(self.attack),
            self.attack.seed,
            warnings=remarks(self.dropped, losses=self.unbounded + stepper.unbounded, reached=self.reached),
        )
