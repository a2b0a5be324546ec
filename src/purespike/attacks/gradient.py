"""One loop of signed gradient steps inside an L∞ ball; FGSM, I-FGSM, MI-FGSM and PGD are its settings."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from purespike.attacks.objective import attacked, input_gradient, objective
from purespike.attacks.precision import check_precision, gradients_in, misclassified, rough
from purespike.attacks.result import AttackResult, merge, settings_of
from purespike.checks import check_images, check_labels, check_steps, parse_eps
from purespike.errors import InputError
from purespike.seeding import derive


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
        restarts: random starts in all; each meets only what the former ones left standing.
        precision: ``"bf16"`` for gradients in half precision; successes are judged in float32 in any case.
        seed: of the random starts.

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
    restarts: int = 1
    precision: str = "fp32"
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
        check_steps(self.restarts, name="restarts")
        if self.restarts > 1 and not self.random_start:
            raise InputError("restarts: without random_start all starts are the same; set random_start=True")
        objective(self.loss)
        check_precision(self.precision)

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
            return _attack(self, model, images.detach(), labels)

    def perturb(self, model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
        """The last iterate alone, for training: nobody asks whether it succeeds, which saves a forward.

        Args and errors are those of a call; ``keep``, ``stop_early`` and ``restarts`` do not matter.
        """
        check_images(images)
        labels = check_labels(labels, count=len(images))
        clean = images.detach()
        iterate = _start(self, clean)
        velocity = torch.zeros_like(clean) if self.momentum else None
        with attacked(model), torch.enable_grad():
            for _ in range(self.steps):
                iterate = iterate.detach().requires_grad_()
                with gradients_in(self.precision, clean):
                    logits = model(iterate)
                check_labels(labels, count=len(labels), classes=logits.shape[1])
                gradient = input_gradient(objective(self.loss)(logits.float(), labels), iterate)
                iterate, velocity = _move(self, clean, iterate.detach(), gradient, velocity)
        return iterate


def _attack(attack: SignAttack, model: nn.Module, images: Tensor, labels: Tensor) -> AttackResult:
    result = _run(attack, model, images, labels)
    for restart in range(1, attack.restarts):
        rows = (~result.success).nonzero().squeeze(1)
        if not len(rows):
            break
        again = replace(attack, seed=derive(attack.seed, "restart", restart))
        result = merge(result, _run(again, model, images[rows], labels[rows]), rows)
    return replace(result, seed=attack.seed)


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
    verify = rough(attack.precision, images)

    # rows of the whole batch that are still attacked, and their current state
    rows = torch.arange(count, device=device)
    clean, iterate = images, _start(attack, images)
    velocity = torch.zeros_like(images) if attack.momentum else None

    for step in range(attack.steps + 1):
        if not len(rows):
            break
        last = step == attack.steps
        iterate = iterate.detach().requires_grad_(not last)
        with torch.set_grad_enabled(not last), gradients_in(attack.precision, images):
            logits = model(iterate)
        if step == 0:
            check_labels(labels, count=count, classes=logits.shape[1])
        losses = loss_of(logits.float(), labels[rows])
        forwards += len(rows)
        trace[step, rows] = losses.detach()
        wrong = logits.argmax(1) != labels[rows]

        kept = _kept(attack, step, wrong, losses.detach(), success[rows], best_loss[rows])
        if verify and (doubtful := kept & wrong).any():
            wrong[doubtful] = misclassified(model, iterate.detach()[doubtful], labels[rows[doubtful]])
            forwards += int(doubtful.sum())
            kept = _kept(attack, step, wrong, losses.detach(), success[rows], best_loss[rows])
        chosen = rows[kept]
        best[chosen] = iterate.detach()[kept]
        best_loss[chosen] = losses.detach()[kept]
        best_step[chosen] = step
        success[chosen] = wrong[kept]
        if last:
            break

        gradient = input_gradient(losses, iterate)
        backwards += len(rows)
        iterate = iterate.detach()
        if attack.stop_early and wrong.any():
            stay = ~wrong
            rows, clean, iterate, gradient = rows[stay], clean[stay], iterate[stay], gradient[stay]
            velocity = None if velocity is None else velocity[stay]
        iterate, velocity = _move(attack, clean, iterate, gradient, velocity)

    if verify and not success.all():
        # what half precision took for right may be wrong
        left = ~success
        success[left] = misclassified(model, best[left], labels[left])
        forwards += int(left.sum())
    return AttackResult(
        best, success, best_step, trace, forwards, backwards, settings_of(attack), attack.seed
    )


def _start(attack: SignAttack, images: Tensor) -> Tensor:
    if not attack.random_start:
        return images
    assert isinstance(attack.eps, float)
    generator = torch.Generator().manual_seed(attack.seed)
    noise = torch.empty(images.shape).uniform_(-attack.eps, attack.eps, generator=generator)
    return (images + noise.to(images)).clamp(0, 1)


def _kept(
    attack: SignAttack, step: int, wrong: Tensor, losses: Tensor, success: Tensor, best_loss: Tensor
) -> Tensor:
    """Which iterates take the place of the best so far, bool ``[rows]``."""
    if attack.keep == "last" and step == attack.steps:
        return torch.ones_like(wrong)
    if attack.keep == "last" or step == 0:
        return wrong if attack.stop_early else torch.zeros_like(wrong)
    # a misclassified iterate beats any other; within a kind, the higher loss. `~ <=` lets NaN in.
    return (wrong & ~success) | ((wrong == success) & ~(losses <= best_loss))


def _move(
    attack: SignAttack, clean: Tensor, iterate: Tensor, gradient: Tensor, velocity: Tensor | None
) -> tuple[Tensor, Tensor | None]:
    assert isinstance(attack.eps, float) and isinstance(attack.step_size, float)
    if velocity is not None:
        size = gradient.abs().sum((1, 2, 3), keepdim=True)
        # a vanished gradient must not turn the momentum into NaN
        gradient = velocity = attack.momentum * velocity + gradient / size.clamp(
            min=torch.finfo(size.dtype).tiny
        )
    moved = iterate + attack.step_size * gradient.sign()
    return moved.clamp(clean - attack.eps, clean + attack.eps).clamp(0, 1), velocity
