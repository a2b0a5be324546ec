"""Gradient steps inside a ball; FGSM, I-FGSM, MI-FGSM, PGD, SA-PGD and SPSA are settings of one loop."""

from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from purespike.attacks import loop
from purespike.attacks.expectation import without_needless_passes
from purespike.attacks.gate import check_gate
from purespike.attacks.objective import frozen_eval, objective
from purespike.attacks.precision import check_precision
from purespike.attacks.protocol import RECORDED_IF_SET, Attack, settings_of, settle, settle_scalars
from purespike.attacks.result import AttackResult
from purespike.attacks.spsa import parse_probe
from purespike.attacks.steps import RULES, SCHEDULES, default_step_size
from purespike.attacks.targets import aimed, check_target, choose_targets
from purespike.ball import Ball
from purespike.checks import check_images, check_labels, check_seed, check_steps
from purespike.errors import InputError, unknown
from purespike.modes import normal
from purespike.scalars import check_number

SOURCES = ("autograd", "spsa")


@dataclass(frozen=True, kw_only=True)
class SignAttack(Attack):
    """Settings of the loop; calling it attacks a model.

    Sizes may be given as text such as ``"8/255"``, and are floats afterwards.

    Args:
        name: name in reports.
        eps: budget in pixel units; in L2 a radius, any positive number.
        norm: ``"linf"``, ``"l2"`` or ``"l0"``.
        step_size: norm of a step, α; ``None`` is ``eps / steps``, in L2 and L0 ``2.5 * eps / steps``, and
            ``eps`` for a single step or a halving schedule.
        steps: gradient steps, at least 1.
        schedule: ``"constant"`` or ``"halving"``, see :func:`~purespike.attacks.steps.step_sizes`.
        rule: use made of a gradient, ``"steepest"`` (not in L0), ``"adaptive"`` (L∞ only), ``"flips"``,
            ``"flips_add"`` or ``"flips_remove"`` (L0 only), see :class:`~purespike.attacks.steps.Ascent`.
        momentum: decay μ of the accumulated gradient, each normalised by its L1 norm; 0 for none.
        random_start: begin at a uniform draw from the ball instead of at the image.
        loss: ``"ce"`` or ``"margin"``.
        source: source of gradients: ``"autograd"``, or ``"spsa"``, which needs outputs only and so attacks
            models without a usable gradient (:func:`~purespike.attacks.spsa.spsa_gradient`).
        samples: directions that SPSA averages, two passes each; ``None`` is 64.
        delta: probe size of SPSA in pixel units; ``None`` is 0.01.
        eot: passes averaged at each iterate of a stochastic model (expectation over transformation,
            Athalye et al. 2018); an iterate is then misclassified if it is in more than half of them, and
            SPSA averages ``eot * samples`` directions. The model draws from its own generators.
        keep: ``"best"``, the misclassified iterate of highest loss, else the iterate of highest loss;
            or ``"last"``, as the papers write their attacks. The start itself is never kept in its place.
        stop_early: drop samples from the batch once misclassified; their first success is kept, and
            samples misclassified from the start are returned unchanged.
        restarts: random starts in all, for each image until one succeeds; the last few images meet several
            at once.
        precision: ``"bf16"`` for gradients in half precision; successes are judged in float32 in any case.
        seed: seed of the random starts and of SPSA's directions.
        targeted: lead images to a class instead of away from their own: the loss at the target is lowered,
            and success means to be taken for the target.
        target: targets that the attack chooses from the true classes it is called with, see
            :func:`~purespike.attacks.targets.choose_targets`; ``None`` if it is called with the targets.
        gate: way with a model whose last output is no logit but the margin of a gate that an image has to
            pass, see :func:`~purespike.attacks.gate.gated`; ``None`` for models without one.

    Raises:
        InputError: a setting out of range, or one that the others give no meaning.
    """

    name: str = "pgd"
    eps: float = 8 / 255
    norm: str = "linf"
    step_size: float | None = None
    steps: int = 7
    schedule: str = "constant"
    rule: str = "steepest"
    momentum: float = 0.0
    random_start: bool = False
    loss: str = "ce"
    source: str = "autograd"
    samples: int | None = None
    delta: float | None = None
    eot: int = 1
    keep: str = "best"
    stop_early: bool = False
    restarts: int = 1
    precision: str = "fp32"
    seed: int = 0
    targeted: bool = field(default=False, metadata=RECORDED_IF_SET)
    target: str | None = field(default=None, metadata=RECORDED_IF_SET)
    gate: str | None = field(default=None, metadata=RECORDED_IF_SET)

    def __post_init__(self) -> None:
        settle_scalars(self, but=("eps", "step_size"))
        for kind, value, known in (
            ("schedule", self.schedule, SCHEDULES),
            ("rule", self.rule, RULES),
            ("source", self.source, SOURCES),
            ("keep", self.keep, ("best", "last")),
        ):
            if value not in known:
                raise unknown(kind, str(value), known)
        ball = Ball.parse(self.eps, self.norm)
        for name in ("steps", "eot", "restarts"):
            check_steps(getattr(self, name), name=name)
        step_size = self.step_size
        if step_size is None:
            step_size = default_step_size(ball, steps=self.steps, schedule=self.schedule)
        settle(self, eps=ball.size, step_size=ball.parse_step(step_size))
        if self.rule not in ball.rules:
            raise InputError(
                f"rule: {self.rule!r} knows no {ball.title}; use {' or '.join(map(repr, ball.rules))} there"
            )
        check_number(self.momentum, name="momentum")
        check_seed(self.seed)
        if self.restarts > 1 and not self.random_start:
            raise InputError("restarts: without random_start all starts are the same; set random_start=True")
        objective(self.loss)
        check_precision(self.precision)
        check_target(self.targeted, self.target)
        if self.gate is not None:
            check_gate(self.gate)
            if self.targeted:
                raise InputError(
                    "gate: an attack that has to pass a gate is not targeted; leave out targeted"
                )
        self._check_source()

    def _check_source(self) -> None:
        if self.source == "spsa":
            samples = 64 if self.samples is None else self.samples
            delta = 0.01 if self.delta is None else self.delta
            settle(self, samples=check_steps(samples, name="samples"), delta=parse_probe(delta))
        for name in ("samples", "delta"):
            if self.source != "spsa" and getattr(self, name) is not None:
                raise InputError(
                    f"{name}: a setting of SPSA; set source='spsa' (attack spsa) or leave it out"
                )

    @property
    def ball(self) -> Ball:
        """The ball around each image that the attack stays in."""
        return Ball.named(self.norm)(self.eps)

    @property
    def step_length(self) -> float:
        """The step size, which is known once the settings are checked."""
        assert self.step_size is not None
        return self.step_size

    @property
    def differentiates(self) -> bool:
        """Whether it follows the model's own gradients: not by SPSA."""
        return self.source == "autograd"

    @property
    def passes(self) -> int:
        probes = 0 if self.samples is None else 2 * self.samples
        return self.steps * self.restarts * self.eot * (probes + 1)

    def __call__(self, model: nn.Module, images: Tensor, labels: Tensor) -> AttackResult:
        """Perturb ``images`` so that ``model`` misclassifies them, or takes them for their target.

        Args:
            model: images to logits; attacked in evaluation mode, left as it was.
            images: ``[N, C, H, W]`` floats in [0, 1].
            labels: true classes, ``[N]``; of a targeted attack with ``target=None`` the targets.

        Raises:
            InputError: images or labels are not of that form.
        """
        check_images(images)
        labels = check_labels(labels, count=len(images))
        with frozen_eval(model), torch.set_grad_enabled(self.differentiates):
            images, labels = normal(images).detach(), normal(labels)
            once, lines, asked = without_needless_passes(
                self, model, images, eot=self.eot if self.differentiates else 1
            )
            found = aimed(loop.run, once, model, images, labels, target=self.target, passes=once.eot)
        return replace(
            found,
            config=settings_of(self),
            forwards=found.forwards + asked,
            warnings=(*lines, *found.warnings),
        )

    def perturb(self, model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
        """The last iterate alone, for training: whether it succeeds is not asked, which saves a forward.

        Args and errors are those of a call; ``keep``, ``stop_early`` and ``restarts`` do not matter.
        """
        check_images(images)
        labels = check_labels(labels, count=len(images))
        with frozen_eval(model), torch.set_grad_enabled(self.differentiates):
            images, labels = normal(images).detach(), normal(labels)
            if self.target is not None:
                labels = choose_targets(self.target, model, images, labels, seed=self.seed)
            return loop.perturb(self, model, images, labels)
