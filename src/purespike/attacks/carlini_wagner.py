"""The Carlini & Wagner L2 attack, with a search over the trade-off constant per sample (paper eq. 4)."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from purespike.attacks.objective import attacked, margin
from purespike.attacks.precision import check_precision, gradients_in, own_logits, rough
from purespike.attacks.result import AttackResult, settings_of
from purespike.checks import check_images, check_labels, check_steps
from purespike.errors import InputError


@dataclass(frozen=True, kw_only=True)
class CarliniWagner:
    r"""Settings of the attack; calling it attacks a model. Its budget is not bounded: look at the distance.

    Minimises :math:`\|x' - x\|_2^2 + c \max(z_y - \max_{j \ne y} z_j + \kappa, 0)` with
    :math:`x' = (\tanh v + 1) / 2` by Adam, and searches c by bisection: smaller after a success, larger
    after a failure. The misclassified image nearest to x is kept.

    Args:
        name: for reports.
        steps: Adam steps per value of c (the paper: 50).
        learning_rate: of Adam (the paper: 0.01).
        search_steps: values of c tried.
        initial_c: first of them.
        confidence: κ, the margin by which the model must be wrong.
        precision: ``"bf16"`` for gradients in half precision; successes are judged in float32 in any case.
        seed: unused, the attack draws nothing; kept so that all attacks take the same settings.

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

    def __post_init__(self) -> None:
        check_steps(self.steps)
        check_steps(self.search_steps, name="search_steps")
        for name in ("learning_rate", "initial_c"):
            if not getattr(self, name) > 0:
                raise InputError(f"{name}: must be positive, got {getattr(self, name)}")
        check_precision(self.precision)
        if not self.confidence >= 0:
            # below zero an image that is still classified correctly would count as a success
            raise InputError(f"confidence: must not be negative, got {self.confidence}")

    @property
    def differentiates(self) -> bool:
        """It follows the model's own gradients."""
        return True

    def __call__(self, model: nn.Module, images: Tensor, labels: Tensor) -> AttackResult:
        """Perturb ``images`` ``[N, C, H, W]`` in [0, 1] as little as possible so that ``model`` is wrong.

        Raises:
            InputError: images or labels are not of that form.
        """
        check_images(images)
        labels = check_labels(labels, count=len(images))
        with attacked(model), torch.enable_grad():
            return _run(self, model, images.detach(), labels)


def _run(attack: CarliniWagner, model: nn.Module, images: Tensor, labels: Tensor) -> AttackResult:
    count = len(images)
    device = images.device
    with torch.no_grad():
        logits = model(images)
    check_labels(labels, count=count, classes=logits.shape[1])
    success = logits.argmax(1) != labels
    best = images.clone()
    best_step = torch.zeros(count, dtype=torch.long, device=device)
    trace = torch.full((attack.search_steps * attack.steps + 1, count), torch.nan, device=device)
    trace[0] = margin(logits.float(), labels)
    forwards, backwards = count, 0

    # an image that is wrong already needs no perturbation
    rows = (~success).nonzero().squeeze(1)
    if len(rows):
        found = _search(attack, model, images[rows], labels[rows])
        best[rows], success[rows], best_step[rows] = found.images, found.success, found.best_step
        trace[:, rows] = found.loss_trace
        forwards, backwards = forwards + found.forwards, found.backwards
    return AttackResult(
        best, success, best_step, trace, forwards, backwards, settings_of(attack), attack.seed
    )


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
    verify = rough(attack.precision, images)

    for search in range(attack.search_steps):
        v = start.clone().requires_grad_()
        optimiser = torch.optim.Adam([v], lr=attack.learning_rate)
        fooled = torch.zeros(count, dtype=torch.bool, device=device)
        for step in range(attack.steps + 1):
            candidate = ((torch.tanh(v) + 1) / 2).to(images.dtype)
            distance = (candidate.to(clean.dtype) - clean).square().sum((1, 2, 3))
            with gradients_in(attack.precision, images):
                logits = model(candidate)
            margins = margin(logits.float(), labels)
            forwards += count
            index = search * attack.steps + step
            trace[index] = margins.detach()
            # step 0 of a search is the image itself but for rounding
            hit = (margins.detach() > attack.confidence) & (step > 0)
            if verify and (doubtful := hit & (~fooled | (distance.detach() < best_distance))).any():
                own = own_logits(model, candidate.detach()[doubtful]).float()
                hit[doubtful] = margin(own, labels[doubtful]) > attack.confidence
                forwards += int(doubtful.sum())
            fooled |= hit
            better = hit & (distance.detach() < best_distance)
            best[better] = candidate.detach()[better]
            best_distance[better] = distance.detach()[better]
            best_step[better] = index
            if step == attack.steps:
                break
            cost = distance + c * (attack.confidence - margins).clamp(min=0)
            (v.grad,) = torch.autograd.grad(cost.sum(), v)
            backwards += count
            optimiser.step()
        high = torch.where(fooled, torch.minimum(high, c), high)
        low = torch.where(fooled, low, torch.maximum(low, c))
        c = torch.where(torch.isinf(high), c * 10, (low + high) / 2)

    return AttackResult(best, ~torch.isinf(best_distance), best_step, trace, forwards, backwards)
