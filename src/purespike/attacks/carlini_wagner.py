"""The Carlini & Wagner L2 attack, with a search over the trade-off constant per sample (paper eq. 4)."""

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from purespike.attacks.objective import finite, frozen_eval, input_gradient, leads, objective
from purespike.attacks.precision import (
    check_precision,
    full_precision_logits,
    gradients_in,
    is_reduced_precision,
)
from purespike.attacks.protocol import RECORDED_IF_SET, Attack, settings_of, settle_scalars
from purespike.attacks.registry import attack, attacking
from purespike.attacks.result import AttackResult, remarks
from purespike.attacks.targets import aimed, check_target
from purespike.checks import check_images, check_labels, check_seed, check_steps
from purespike.models.answer import correct, logits_of
from purespike.modes import normal
from purespike.scalars import check_number


@attack(title="C&W", order=60)
@dataclass(frozen=True, kw_only=True)
class CarliniWagner(Attack):
    r"""Settings of the attack (paper eq. 4); calling it attacks a model. No budget bounds it: its strength is
    the distance at which it succeeds.

    Minimises :math:`\|x' - x\|_2^2 + c \max(z_y - \max_{j \ne y} z_j + \kappa, 0)` with
    :math:`x' = (\tanh v + 1) / 2` by Adam, and searches c by bisection: smaller after a success, larger
    after a failure. The misclassified image nearest to x is kept. A targeted attack puts
    :math:`\max_{j \ne t} z_j - z_t` of the target t in place of the difference.

    Args:
        name: name in reports.
        steps: Adam steps per value of c (the paper: 50).
        learning_rate: learning rate of Adam (the paper: 0.01).
        search_steps: values of c tried.
        initial_c: first value of c.
        confidence: κ, the margin by which the model must be wrong.
        precision: ``"bf16"`` for gradients in half precision; successes are judged in float32 in any case.
        seed: seed of random targets; the attack itself draws nothing.
        targeted: lead images to a class instead of away from their own; success means to be taken for it.
        target: targets that the attack chooses from the true classes it is called with, see
            :func:`~purespike.attacks.targets.choose_targets`; ``None`` if it is called with the targets.

    Raises:
        InputError: a setting out of range.
    """

    name: str = "cw"
    steps: int = 50
    learning_rate: float = 0.01
    search_steps: int = 5
    initial_c: float = 1.0
    confidence: float = 0.0
    precision: str = "fp32"
    seed: int = 0
    targeted: bool = field(default=False, metadata=RECORDED_IF_SET)
    target: str | None = field(default=None, metadata=RECORDED_IF_SET)

    def __post_init__(self) -> None:
        settle_scalars(self)
        check_seed(self.seed)
        check_steps(self.steps)
        check_steps(self.search_steps, name="search_steps")
        for name in ("learning_rate", "initial_c"):
            check_number(getattr(self, name), name=name, positive=True)
        check_precision(self.precision)
        check_target(self.targeted, self.target)
        # below zero an image that is still classified correctly would count as a success
        check_number(self.confidence, name="confidence")

    @property
    def norm(self) -> str:
        return "l2"

    @property
    def passes(self) -> int:
        return self.steps * self.search_steps

    def __call__(self, model: nn.Module, images: Tensor, labels: Tensor) -> AttackResult:
        """Perturb ``images`` ``[N, C, H, W]`` in [0, 1] as little as possible so that ``model`` is wrong.

        ``labels`` are the true classes, or the targets of a targeted attack with ``target=None``.

        Raises:
            InputError: images or labels are not of that form.
        """
        check_images(images)
        labels = check_labels(labels, count=len(images))
        with frozen_eval(model), torch.enable_grad():
            images, labels = normal(images).detach(), normal(labels)
            return aimed(_run, self, model, images, labels, target=self.target)


cw = attacking("cw")


def _run(attack: CarliniWagner, model: nn.Module, images: Tensor, labels: Tensor) -> AttackResult:
    count = len(images)
    device = images.device
    logits = full_precision_logits(model, images)
    check_labels(labels, count=count, classes=logits.shape[1])
    margin = objective("margin", targeted=attack.targeted)
    success = correct(logits, labels) == attack.targeted
    best = images.clone()
    best_step = torch.zeros(count, dtype=torch.long, device=device)
    trace = torch.full((attack.search_steps * attack.steps + 1, count), torch.nan, device=device)
    trace[0] = margin(logits, labels)
    forwards, backwards = count, 0
    warnings: tuple[str, ...] = ()

    # a success of enough confidence needs no perturbation
    rows = (~_hits(attack, logits, labels)).nonzero().squeeze(1)
    if len(rows):
        found = _search(attack, model, images[rows], labels[rows])
        best[rows], best_step[rows] = found.images, found.best_step
        success[rows] |= found.success
        trace[:, rows] = found.loss_trace
        forwards, backwards, warnings = forwards + found.forwards, found.backwards, found.warnings
    return AttackResult(
        best,
        success,
        best_step,
        trace,
        forwards,
        backwards,
        settings_of(attack),
        attack.seed,
        warnings=warnings,
    )


def _hits(attack: CarliniWagner, logits: Tensor, labels: Tensor) -> Tensor:
    """Which images the model misclassifies, or takes for the target, by the confidence, bool ``[N]``."""
    if not attack.confidence:
        return correct(logits, labels) == attack.targeted
    return objective("margin", targeted=attack.targeted)(logits, labels) > attack.confidence


def _search(attack: CarliniWagner, model: nn.Module, images: Tensor, labels: Tensor) -> AttackResult:
    count = len(images)
    device = images.device
    # tanh reaches 0 and 1 only at infinity
    # nor does half precision hold 1 - 1e-6: the search runs in float32, the model sees the images' own type
    clean = images.to(torch.promote_types(images.dtype, torch.float32))
    start = torch.atanh((clean * 2 - 1).clamp(-1 + 1e-6, 1 - 1e-6))
    c = torch.full((count,), attack.initial_c, dtype=clean.dtype, device=device)
    low, high = torch.zeros_like(c), torch.full_like(c, torch.inf)
    best = images.clone()
    best_distance = torch.full_like(c, torch.inf)
    best_step = torch.zeros(count, dtype=torch.long, device=device)
    trace = torch.full((attack.search_steps * attack.steps + 1, count), torch.nan, device=device)
    forwards = backwards = 0
    path = True
    dropped = torch.zeros((), dtype=torch.long, device=device)
    verify = is_reduced_precision(attack.precision, images)
    margin = objective("margin", targeted=attack.targeted)

    for search in range(attack.search_steps):
        v = start.clone().requires_grad_()
        optimiser = torch.optim.Adam([v], lr=attack.learning_rate)
        fooled = torch.zeros(count, dtype=torch.bool, device=device)
        for step in range(attack.steps + 1):
            candidate = ((torch.tanh(v) + 1) / 2).to(images.dtype)
            distance = (candidate.to(clean.dtype) - clean).square().sum((1, 2, 3))
            with gradients_in(attack.precision, images):
                logits = logits_of(model, candidate)
            margins = margin(logits, labels)
            if search == step == 0:
                path = leads(margins, candidate)
            forwards += count
            index = search * attack.steps + step
            trace[index] = margins.detach()
            # step 0 of a search is the image itself but for rounding
            hit = _hits(attack, logits.detach(), labels) & (step > 0)
            if verify and (doubtful := hit & (~fooled | (distance.detach() < best_distance))).any():
                own = full_precision_logits(model, candidate.detach()[doubtful])
                hit[doubtful] = _hits(attack, own, labels[doubtful])
                forwards += int(doubtful.sum())
            fooled |= hit
            better = hit & (distance.detach() < best_distance)
            best[better] = candidate.detach()[better]
            best_distance[better] = distance.detach()[better]
            best_step[better] = index
            if step == attack.steps:
                break
            cost = distance + c * (attack.confidence - margins).clamp(min=0)
            v.grad, lost = finite(input_gradient(cost, v))
            dropped += lost
            backwards += count
            optimiser.step()
        high = torch.where(fooled, torch.minimum(high, c), high)
        low = torch.where(fooled, low, torch.maximum(low, c))
        c = torch.where(torch.isinf(high), c * 10, (low + high) / 2)

    reached = ~torch.isinf(best_distance)
    lines = remarks(dropped, reached=path)
    return AttackResult(best, reached, best_step, trace, forwards, backwards, warnings=lines)
