"""One loop of gradient steps inside a ball; FGSM, I-FGSM, MI-FGSM, PGD, SA-PGD and SPSA are its settings."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from purespike.attacks.look import look
from purespike.attacks.objective import attacked, objective
from purespike.attacks.precision import check_precision, gradients_in, misclassified, rough
from purespike.attacks.result import AttackResult, merge, settings_of
from purespike.attacks.spsa import parse_probe, spsa_gradient
from purespike.attacks.steps import (
    NORMS,
    RULES,
    SCHEDULES,
    Ascent,
    parse_budget,
    parse_step,
    random_start,
    step_sizes,
    usual_step,
)
from purespike.checks import check_images, check_labels, check_steps
from purespike.errors import InputError, unknown
from purespike.seeding import derive, generator

SOURCES = ("autograd", "spsa")


@dataclass(frozen=True, kw_only=True)
class SignAttack:
    """Settings of the loop; calling it attacks a model.

    Args:
        name: for reports.
        eps: budget in pixel units, a number or text such as ``"8/255"``; in L2 a radius, any positive number.
        norm: ``"linf"`` or ``"l2"``.
        step_size: α, in L2 the length of a step; ``None`` is ``eps / steps``, in L2 ``2.5 * eps / steps``,
            for a single step or where it halves ``eps``.
        steps: gradient steps, at least 1.
        schedule: ``"constant"`` or ``"halving"``, see :func:`~purespike.attacks.steps.step_sizes`.
        rule: what is made of a gradient, ``"steepest"`` or ``"adaptive"`` (L∞ only), see
            :class:`~purespike.attacks.steps.Ascent`.
        momentum: decay μ of the accumulated gradient, each normalised by its L1 norm; 0 for none.
        random_start: begin at a uniform draw from the ball instead of at the image.
        loss: ``"ce"`` or ``"margin"``.
        source: of gradients: ``"autograd"``, or ``"spsa"``, which asks the model for outputs only and so
            attacks one that cannot be differentiated (:func:`~purespike.attacks.spsa.spsa_gradient`).
        samples: directions that SPSA averages, two passes each; ``None`` is 64.
        delta: probe size of SPSA in pixel units; ``None`` is 0.01.
        eot: passes averaged at each iterate, for a model that draws (expectation over transformation,
            Athalye et al. 2018); an iterate is then misclassified if it is in more than half of them, and
            SPSA averages ``eot * samples`` directions. The model draws from its own generators.
        keep: ``"best"``, the misclassified iterate of highest loss, else the iterate of highest loss;
            or ``"last"``, as the papers write their attacks. The start itself is never kept in its place.
        stop_early: drop samples from the batch once misclassified; their first success is kept, and
            samples misclassified from the start are returned unchanged.
        restarts: random starts in all; each meets only what the former ones left standing.
        precision: ``"bf16"`` for gradients in half precision; successes are judged in float32 in any case.
        seed: of the random starts and of SPSA's directions.

    Raises:
        InputError: a setting out of range, or one that the others give no meaning.
    """

    name: str = "pgd"
    eps: float | str = 8 / 255
    norm: str = "linf"
    step_size: float | str | None = None
    steps: int = 7
    schedule: str = "constant"
    rule: str = "steepest"
    momentum: float = 0.0
    random_start: bool = False
    loss: str = "ce"
    source: str = "autograd"
    samples: int | None = None
    delta: float | str | None = None
    eot: int = 1
    keep: str = "best"
    stop_early: bool = False
    restarts: int = 1
    precision: str = "fp32"
    seed: int = 0

    def __post_init__(self) -> None:
        for kind, value, known in (
            ("norm", self.norm, NORMS),
            ("schedule", self.schedule, SCHEDULES),
            ("rule", self.rule, RULES),
            ("source", self.source, SOURCES),
        ):
            if value not in known:
                raise unknown(kind, str(value), known)
        eps = parse_budget(self.eps, self.norm)
        object.__setattr__(self, "eps", eps)
        check_steps(self.steps)
        step_size = self.step_size
        if step_size is None:
            step_size = usual_step(eps, steps=self.steps, norm=self.norm, schedule=self.schedule)
        object.__setattr__(self, "step_size", parse_step(step_size, self.norm))
        if self.rule == "adaptive" and self.norm != "linf":
            raise InputError(
                "rule: 'adaptive' clips the step of each pixel and knows no L2; use 'steepest' (pgd) there"
            )
        if not self.momentum >= 0:
            raise InputError(f"momentum: must not be negative, got {self.momentum}")
        if self.keep not in ("best", "last"):
            raise InputError(f"keep: must be 'best' or 'last', got {self.keep!r}")
        check_steps(self.eot, name="eot")
        check_steps(self.restarts, name="restarts")
        if self.restarts > 1 and not self.random_start:
            raise InputError("restarts: without random_start all starts are the same; set random_start=True")
        objective(self.loss)
        check_precision(self.precision)
        self._check_source()

    def _check_source(self) -> None:
        if self.source == "spsa":
            samples = 64 if self.samples is None else self.samples
            object.__setattr__(self, "samples", check_steps(samples, name="samples"))
            object.__setattr__(self, "delta", parse_probe(0.01 if self.delta is None else self.delta))
        for name in ("samples", "delta"):
            if self.source != "spsa" and getattr(self, name) is not None:
                raise InputError(
                    f"{name}: a setting of SPSA; set source='spsa' (attack spsa) or leave it out"
                )

    @property
    def differentiates(self) -> bool:
        """Whether it follows the model's own gradients: not by SPSA."""
        return self.source == "autograd"

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
        with attacked(model), torch.set_grad_enabled(self.differentiates):
            return _attack(self, model, images.detach(), labels)

    def perturb(self, model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
        """The last iterate alone, for training: nobody asks whether it succeeds, which saves a forward.

        Args and errors are those of a call; ``keep``, ``stop_early`` and ``restarts`` do not matter.
        """
        check_images(images)
        labels = check_labels(labels, count=len(images))
        clean = images.detach()
        iterate = _start(self, clean)
        ascent, directions = _ascent(self, clean), generator(self.seed, "spsa")
        with attacked(model), torch.set_grad_enabled(self.differentiates):
            for step, size in enumerate(_sizes(self)):
                if self.differentiates:
                    gradient = look(
                        model,
                        iterate,
                        labels,
                        loss=objective(self.loss),
                        differentiate=True,
                        passes=self.eot,
                        precision=self.precision,
                        check=step == 0,
                    ).gradient
                    assert gradient is not None
                else:
                    gradient = _estimate(self, model, iterate, labels, directions)
                iterate = ascent(clean, iterate, gradient, size)
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
    count = len(images)
    device = images.device
    best = images.clone()
    best_loss = torch.full((count,), -torch.inf, device=device)
    best_step = torch.zeros(count, dtype=torch.long, device=device)
    success = torch.zeros(count, dtype=torch.bool, device=device)
    trace = torch.full((attack.steps + 1, count), torch.nan, device=device)
    forwards = backwards = 0
    verify = rough(attack.precision, images)
    sizes, directions = _sizes(attack), generator(attack.seed, "spsa")

    # rows of the whole batch that are still attacked, and their current state
    rows = torch.arange(count, device=device)
    clean, iterate = images, _start(attack, images)
    ascent = _ascent(attack, images)

    for step in range(attack.steps + 1):
        if not len(rows):
            break
        last = step == attack.steps
        seen = look(
            model,
            iterate,
            labels[rows],
            loss=objective(attack.loss),
            differentiate=attack.differentiates and not last,
            passes=attack.eot,
            precision=attack.precision,
            check=step == 0,
        )
        losses, wrong, gradient = seen.losses, seen.wrong, seen.gradient
        forwards += len(rows) * attack.eot
        backwards += 0 if gradient is None else len(rows) * attack.eot
        trace[step, rows] = losses

        kept = _kept(attack, step, wrong, losses, success[rows], best_loss[rows])
        if verify and (doubtful := kept & wrong).any():
            wrong[doubtful] = misclassified(
                model, iterate[doubtful], labels[rows[doubtful]], passes=attack.eot
            )
            forwards += int(doubtful.sum()) * attack.eot
            kept = _kept(attack, step, wrong, losses, success[rows], best_loss[rows])
        chosen = rows[kept]
        best[chosen] = iterate[kept]
        best_loss[chosen] = losses[kept]
        best_step[chosen] = step
        success[chosen] = wrong[kept]
        if last:
            break

        if attack.stop_early and wrong.any():
            stay = ~wrong
            rows, clean, iterate = rows[stay], clean[stay], iterate[stay]
            gradient = None if gradient is None else gradient[stay]
            ascent.stay(stay)
            if not len(rows):
                break
        if gradient is None:
            gradient = _estimate(attack, model, iterate, labels[rows], directions)
            forwards += _probes(attack) * len(rows)
        iterate = ascent(clean, iterate, gradient, sizes[step])

    if verify and not success.all():
        # what half precision took for right may be wrong
        left = ~success
        success[left] = misclassified(model, best[left], labels[left], passes=attack.eot)
        forwards += int(left.sum()) * attack.eot
    return AttackResult(
        best, success, best_step, trace, forwards, backwards, settings_of(attack), attack.seed
    )


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


def _start(attack: SignAttack, images: Tensor) -> Tensor:
    if not attack.random_start:
        return images
    assert isinstance(attack.eps, float)
    return random_start(images, eps=attack.eps, norm=attack.norm, seed=attack.seed)


def _ascent(attack: SignAttack, images: Tensor) -> Ascent:
    assert isinstance(attack.eps, float)
    return Ascent(images, norm=attack.norm, eps=attack.eps, rule=attack.rule, momentum=attack.momentum)


def _sizes(attack: SignAttack) -> list[float]:
    assert isinstance(attack.step_size, float)
    return step_sizes(attack.step_size, steps=attack.steps, schedule=attack.schedule)


def _probes(attack: SignAttack) -> int:
    assert attack.samples is not None
    return 2 * attack.samples * attack.eot


def _estimate(
    attack: SignAttack, model: nn.Module, images: Tensor, labels: Tensor, directions: torch.Generator
) -> Tensor:
    assert isinstance(attack.delta, float)

    def loss(probes: Tensor) -> Tensor:
        with gradients_in(attack.precision, probes):
            logits = model(probes)
        check_labels(labels, count=len(probes), classes=logits.shape[1])
        return objective(attack.loss)(logits.float(), labels)

    return spsa_gradient(loss, images, samples=_probes(attack) // 2, delta=attack.delta, generator=directions)
