"""One loop of signed gradient steps inside an L∞ ball; FGSM, I-FGSM, MI-FGSM and PGD are its settings."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from purespike.attacks.objective import attacked, objective
from purespike.attacks.result import AttackResult, settings_of
from purespike.checks import check_images, check_labels, check_steps, parse_eps
from purespike.errors import InputError


@dataclass(frozen=True, kw_only=True)
class SignAttack:
    """Settings of the loop; calling it attacks a model.

    Args:
        name: for reports.
        eps: L∞ budget in pixel units, a number or text such as ``"8/255"``.
        step_size: α; ``None`` is ``eps / steps``.
        steps: gradient steps, at least 1.
        momentum: decay μ of the accumulated gradient, each normalised by its L1 norm; 0 for none.
        random_start: begin at a uniform draw from the ball instead of at the image.
        loss: ``"ce"`` or ``"margin"``.
        keep: ``"best"``, the misclassified iterate of highest loss, else the iterate of highest loss;
            or ``"last"``, as the papers write their attacks. The start itself is never kept in its place.
        stop_early: drop samples from the batch once misclassified; their first success is kept, and
            samples misclassified from the start are returned unchanged.
        seed: of the random start.

    Raises:
        InputError: a setting out of range.
    """

    name: str = "pgd"
    eps: float | str = 8 / 255
    step_size: float | str | None = 2 / 255
    steps: int = 7
    momentum: float = 0.0
    random_start: bool = False
    loss: str = "ce"
    keep: str = "best"
    stop_early: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "eps", parse_eps(self.eps))
        check_steps(self.steps)
        step_size = self.eps / self.steps if self.step_size is None else self.step_size  # type: ignore[operator]
        object.__setattr__(self, "step_size", parse_eps(step_size, name="step_size"))
        if not self.momentum >= 0:
            raise InputError(f"momentum: must not be negative, got {self.momentum}")
        if self.keep not in ("best", "last"):
            raise InputError(f"keep: must be 'best' or 'last', got {self.keep!r}")
        objective(self.loss)

    def __call__(self, model: nn.Module, images: Tensor, labels: Tensor) -> AttackResult:
        """Perturb ``images`` so that ``model`` misclassifies them.

        Args:
            model: images to logits; attacked in evaluation mode, left as it was.
            images: ``[N, C, H, W]`` floats in [0, 1].
            labels: true classes, ``[N]``.

        Raises:
            InputError: images or labels are not of that form.
        """
        check_images(images)
        labels = check_labels(labels, count=len(images))
        with attacked(model), torch.enable_grad():
            return _run(self, model, images.detach(), labels)


def _run(attack: SignAttack, model: nn.Module, images: Tensor, labels: Tensor) -> AttackResult:
    loss_of = objective(attack.loss)
    assert isinstance(attack.eps, float) and isinstance(attack.step_size, float)
    count = len(images)
    device = images.device
    best = images.clone()
    best_loss = torch.full((count,), -torch.inf, device=device)
    best_step = torch.zeros(count, dtype=torch.long, device=device)
    success = torch.zeros(count, dtype=torch.bool, device=device)
    trace = torch.full((attack.steps + 1, count), torch.nan, device=device)
    forwards = backwards = 0

    # rows of the whole batch that are still attacked, and their current state
    rows = torch.arange(count, device=device)
    clean, iterate = images, images
    if attack.random_start:
        generator = torch.Generator().manual_seed(attack.seed)
        noise = torch.empty(images.shape).uniform_(-attack.eps, attack.eps, generator=generator)
        iterate = (images + noise.to(images)).clamp(0, 1)
    velocity = torch.zeros_like(images) if attack.momentum else None

    for step in range(attack.steps + 1):
        if not len(rows):
            break
        last = step == attack.steps
        iterate = iterate.detach().requires_grad_(not last)
        with torch.set_grad_enabled(not last):
            logits = model(iterate)
            if step == 0:
                check_labels(labels, count=count, classes=logits.shape[1])
            losses = loss_of(logits.float(), labels[rows])
        forwards += len(rows)
        trace[step, rows] = losses.detach()
        wrong = logits.argmax(1) != labels[rows]

        if step == 0:
            better = wrong if attack.stop_early else torch.zeros_like(wrong)
        elif attack.keep == "last":
            better = torch.ones_like(wrong)
        else:
            # a misclassified iterate beats any other; within a kind, the higher loss. `not <=` lets NaN in.
            same_kind = wrong == success[rows]
            better = (wrong & ~success[rows]) | (same_kind & ~(losses.detach() <= best_loss[rows]))
        kept = rows[better]
        best[kept] = iterate.detach()[better]
        best_loss[kept] = losses.detach()[better]
        best_step[kept] = step
        success[kept] = wrong[better]
        if last:
            break

        (gradient,) = torch.autograd.grad(losses.sum(), iterate)
        backwards += len(rows)
        iterate = iterate.detach()
        if attack.stop_early and wrong.any():
            stay = ~wrong
            rows, clean, iterate, gradient = rows[stay], clean[stay], iterate[stay], gradient[stay]
            velocity = None if velocity is None else velocity[stay]
        direction = gradient
        if velocity is not None:
            size = gradient.abs().sum((1, 2, 3), keepdim=True)
            # a vanished gradient must not turn the momentum into NaN
            velocity = attack.momentum * velocity + gradient / size.clamp(min=torch.finfo(size.dtype).tiny)
            direction = velocity
        moved = iterate + attack.step_size * direction.sign()
        iterate = moved.clamp(clean - attack.eps, clean + attack.eps).clamp(0, 1)

    return AttackResult(
        best, success, best_step, trace, forwards, backwards, settings_of(attack), attack.seed
    )
