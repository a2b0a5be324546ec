"""APGD, FAB, Square and their ensemble AutoAttack (Croce & Hein 2020): pyautoattack's, judged by us."""

import contextlib
import io
import logging
import sys
import warnings as python_warnings
from collections.abc import Iterator, Sequence
from dataclasses import InitVar, dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from purespike.attacks.objective import frozen_eval, margin
from purespike.attacks.precision import full_precision_logits
from purespike.attacks.protocol import Attack, settings_of, settle
from purespike.attacks.result import AttackResult
from purespike.ball import Ball
from purespike.checks import check_images, check_labels, check_steps
from purespike.errors import InputError, unknown
from purespike.seeding import seeded

COMPONENTS = ("apgd-ce", "apgd-dlr", "apgd-t", "fab", "fab-t", "square")
# as the library calls them
NORMS = {"linf": "Linf", "l2": "L2"}
# the attacks of each version, and how many gradients they average
VERSIONS: dict[str, tuple[tuple[str, ...], int]] = {
    "standard": (("apgd-ce", "apgd-t", "fab-t", "square"), 1),
    "rand": (("apgd-ce", "apgd-dlr"), 20),
    "custom": ((), 1),
}
# a logit that stands for infinity: its square is finite in float32
_HUGE = 1e15
_TINY = torch.finfo(torch.float32).tiny


@dataclass(frozen=True, kw_only=True)
class AutoAttack(Attack):
    """Settings of the ensemble or of some of its attacks; calling it attacks a model.

    Each attack meets only the images that the former ones did not break; a robust image is returned
    unchanged. The library judges by its own passes, this class once more, on exactly the images it returns.
    Its targeted attacks choose their own targets: each wrong class in turn.

    Args:
        name: name in reports.
        eps: budget: L∞ in pixel units, for ``norm="l2"`` a radius; text such as ``"8/255"`` becomes a float.
        norm: ``"linf"`` or ``"l2"``.
        version: ``"standard"``: APGD-CE, targeted APGD, targeted FAB and Square; ``"rand"``, for stochastic
            models: APGD-CE and APGD-DLR with gradients averaged over 20 passes; ``"custom"``: ``attacks``.
        attacks: attacks of the custom version, in this order: ``"apgd-ce"``, ``"apgd-dlr"``, ``"apgd-t"``,
            ``"fab"``, ``"fab-t"``, ``"square"``.
        steps: steps of APGD and FAB.
        restarts: starts in all of APGD, FAB and Square; targeted FAB always has one.
        queries: queries of Square, per start.
        eot: passes over which APGD averages its gradient; ``None`` is the version's number.
        seed: seed of the random starts and of Square.
        warnings: not a setting: a result's ``config`` has warnings under this name, ignored when given back.

    Raises:
        InputError: a setting out of range.
    """

    name: str = "autoattack"
    eps: float = 8 / 255
    norm: str = "linf"
    version: str = "standard"
    attacks: Sequence[str] = ()
    steps: int = 100
    restarts: int = 1
    queries: int = 5000
    eot: int | None = None
    seed: int = 0
    warnings: InitVar[Sequence[str]] = ()

    def __post_init__(self, warnings: Sequence[str]) -> None:
        if self.norm not in NORMS:
            raise unknown("norm", self.norm, NORMS)
        if self.version not in VERSIONS:
            raise unknown("version of AutoAttack", self.version, VERSIONS)
        attacks, eot = VERSIONS[self.version]
        settle(
            self,
            eps=Ball.parse(self.eps, self.norm).size,
            attacks=_check_attacks(self.attacks, self.version) or attacks,
            eot=eot if self.eot is None else self.eot,
        )
        for name in ("steps", "restarts", "queries", "eot"):
            check_steps(getattr(self, name), name=name)

    @property
    def differentiates(self) -> bool:
        """Whether any of its attacks follows gradients: all but Square do."""
        return any(name != "square" for name in self.attacks)

    @property
    def passes(self) -> int:
        each = {"square": self.queries, "apgd-t": 9 * self.steps, "fab-t": 18 * self.steps}
        return sum(each.get(name, self.steps) for name in self.attacks)

    def unfit(self, images: Tensor, classes: int) -> str:
        """Too few classes for the DLR loss, or images too small for Square in L2."""
        dlr = [name for name in self.attacks if name in ("apgd-dlr", "apgd-t")]
        if classes < 4 and dlr:
            return (
                f"the DLR loss of {' and '.join(dlr)} needs at least 4 classes, "
                f"the model has {classes}; use apgd_ce, square or fab"
            )
        if self.norm == "l2" and "square" in self.attacks and min(images.shape[2:]) < 5:
            return (
                "Square in L2 needs images of at least 5 × 5 pixels, "
                f"got {images.shape[2]} × {images.shape[3]}; use apgd_ce or fab"
            )
        return ""

    def gradient_part(self) -> Attack | None:
        return self._without("square")

    def loss_ascent_part(self) -> Attack | None:
        """Neither Square nor FAB, which takes the gradient for the slope of the boundary."""
        return self._without("square", "fab", "fab-t")

    def _without(self, *members: str) -> Attack | None:
        rest = tuple(name for name in self.attacks if name not in members)
        if rest == tuple(self.attacks):
            return self
        return replace(self, version="custom", attacks=rest) if rest else None

    def __call__(self, model: nn.Module, images: Tensor, labels: Tensor) -> AttackResult:
        """Perturb ``images`` so that ``model`` misclassifies them.

        Args:
            model: images to logits; attacked in evaluation mode, left as it was.
            images: ``[N, C, H, W]`` floats in [0, 1].
            labels: true classes, ``[N]``.

        Returns:
            The result; as the library reports no steps, ``best_step`` is 0 and ``loss_trace`` ``[1, N]`` the
            margin of the clean images. ``config["warnings"]`` lists the library's complaints.

        Raises:
            InputError: images or labels are not of that form, the model has too few classes for one of the
                attacks, or pyautoattack is missing.
        """
        check_images(images)
        labels = check_labels(labels, count=len(images))
        _import()
        # the library seeds the global generators, and a model may draw from them
        with frozen_eval(model), seeded(self.seed, "autoattack", device=images.device), torch.enable_grad():
            return _attack(self, model, images.detach(), labels)


def _check_attacks(attacks: Sequence[str], version: str) -> tuple[str, ...]:
    attacks = (attacks,) if isinstance(attacks, str) else tuple(attacks)
    for name in attacks:
        if name not in COMPONENTS:
            raise unknown("attack of AutoAttack", name, COMPONENTS)
    if version == "custom" and not attacks:
        raise InputError(f"attacks: the custom version needs at least one of {', '.join(COMPONENTS)}")
    if version != "custom" and attacks and attacks != VERSIONS[version][0]:
        raise InputError(f"attacks: the {version} version has its own; choose yours with version='custom'")
    return attacks


def _import() -> Any:
    try:
        import pyautoattack
        import pyautoattack.autopgd_base
        import pyautoattack.checks
    except ImportError as error:
        raise InputError(
            "AutoAttack, APGD, FAB and Square need the package pyautoattack: "
            "install it with pip install 'pyautoattack>=0.2'"
        ) from error
    return pyautoattack


class _Victim(nn.Module):
    """The model as the library sees it: float32 in and out, finite logits and gradients, all counted."""

    def __init__(self, model: nn.Module, dtype: torch.dtype, classes: int) -> None:
        super().__init__()
        self.model = model
        self.dtype = dtype
        self.classes = classes
        self.forwards = self.backwards = 0
        self.finite = True

    def forward(self, images: Tensor) -> Tensor:
        self.forwards += len(images)
        # a copy: the hook is to go with it, and a model may work in place
        inputs = images.to(self.dtype, copy=True)
        if inputs.requires_grad:
            inputs.register_hook(_finite)
        logits = self.model(inputs)
        if logits.requires_grad:
            logits.register_hook(self._differentiated)
        self.finite = self.finite and bool(torch.isfinite(logits).all())
        # argmax takes a NaN for the largest: so does the library this way
        return logits.float().nan_to_num(nan=2 * _HUGE, posinf=_HUGE, neginf=-_HUGE).contiguous()

    def margin_and_loss(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Margin and loss that Square minimises, without ties.

        It takes a margin of 0 for a success and stops, although the first of two equal logits may be the true
        one; and fails in L2 where all margins are 0.
        """
        logits = self(images)
        margins = -margin(logits, labels)
        tie = torch.where(logits.argmax(1) == labels, _TINY, -_TINY)
        margins = torch.where(margins == 0, tie, margins)
        # both are changed in place
        return margins, margins.clone()

    def _differentiated(self, gradient: Tensor) -> None:
        self.backwards += len(gradient)


def _finite(gradient: Tensor) -> Tensor:
    return gradient.nan_to_num(nan=0, posinf=0, neginf=0)


def _attack(attack: AutoAttack, model: nn.Module, images: Tensor, labels: Tensor) -> AttackResult:
    count = len(images)
    logits = full_precision_logits(model, images)
    check_labels(labels, count=count, classes=logits.shape[1])
    if reason := attack.unfit(images, logits.shape[1]):
        raise InputError(f"{attack.name}: {reason}")
    success = logits.argmax(1) != labels
    adversarial = images.clone()
    victim = _Victim(model, images.dtype, logits.shape[1])
    messages: list[str] = []
    forwards = count

    rows = (~success).nonzero().squeeze(1)
    if len(rows):
        adversarial[rows] = _perturb(attack, victim, images[rows], labels[rows], messages)
        # of a stochastic model, an image that was wrong when clean may be right now: it was a success
        success = success | (full_precision_logits(model, adversarial).argmax(1) != labels)
        forwards += count + victim.forwards
    if not victim.finite:
        messages.append(
            "the model gave logits that are not finite; the attacks met large numbers in their place"
        )
    return AttackResult(
        images=adversarial,
        success=success,
        best_step=torch.zeros(count, dtype=torch.long, device=images.device),
        loss_trace=margin(logits.float(), labels)[None],
        forwards=forwards,
        backwards=victim.backwards,
        config={**settings_of(attack), "warnings": list(dict.fromkeys(messages))},
        seed=attack.seed,
    )


def _perturb(
    attack: AutoAttack, victim: _Victim, images: Tensor, labels: Tensor, messages: list[str]
) -> Tensor:
    """Images that the library finds, in bounds; those it does not break come back as they are."""
    # it takes gradients apart with view, so no other layout will do
    start = images.float().contiguous()
    with capture_output(messages) as logger:
        ensemble = _ensemble(attack, victim, images.device, logger)
        found, _ = ensemble.run_standard_evaluation(start, labels, batch_size=len(start))
    # a NaN is a pixel left as it was
    found = torch.where(found.isnan(), start, found)
    changed = (found != start).flatten(1).any(1).view(-1, 1, 1, 1)
    return torch.where(changed, into_ball(found, images, Ball.parse(attack.eps, attack.norm)), images)


def into_ball(adversarial: Tensor, clean: Tensor, ball: Ball) -> Tensor:
    """``adversarial`` in the type of ``clean``, in [0, 1] and, where it is not, moved back into ``ball``.

    An excess within the rounding of float32 is left alone.
    """
    rounded = adversarial.to(clean.dtype).clamp(0, 1)
    inside = ball.contains(rounded, clean).view(-1, 1, 1, 1)
    return torch.where(inside, rounded, ball.project(adversarial, clean))


def _ensemble(attack: AutoAttack, victim: _Victim, device: torch.device, logger: logging.Logger) -> Any:
    library = _import()
    common = {"eps": attack.eps, "norm": NORMS[attack.norm], "seed": attack.seed, "device": device}
    ensemble = library.AutoAttack(victim, version="custom", attacks=list(attack.attacks), **common)
    # for "rand" the library does not check whether the model is stochastic
    ensemble.version = attack.version
    ensemble.logger = logger
    # built anew: the checkpoints of its step size follow from n_iter when it is built, and only then
    apgd = {"n_iter": attack.steps, "n_restarts": attack.restarts, "eot_iter": attack.eot, "logger": logger}
    targets = min(9, victim.classes - 1)
    ensemble.apgd = library.autopgd_base.APGDAttack(victim, **common, **apgd)
    ensemble.apgd_targeted = library.autopgd_base.APGDAttack_targeted(
        victim, n_target_classes=targets, **common, **apgd
    )
    ensemble.fab.n_iter, ensemble.fab.n_restarts = attack.steps, attack.restarts
    ensemble.fab.n_target_classes = targets
    ensemble.square.n_queries, ensemble.square.n_restarts = attack.queries, attack.restarts
    ensemble.square.margin_and_loss = victim.margin_and_loss
    # calls seen in the model of a former evaluation are still counted
    calls = library.checks.funcs
    calls.update(dict.fromkeys(calls, 0))
    return ensemble


class _LogCapture(logging.Handler):
    def __init__(self, messages: list[str]) -> None:
        super().__init__()
        self.messages = messages

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())


@contextlib.contextmanager
def capture_output(messages: list[str]) -> Iterator[logging.Logger]:
    """Add to ``messages`` all prints, warnings and records of the logger given; keep the trace function.

    The library's check for dynamic models ends with ``sys.settrace(None)``.
    """
    logger = logging.Logger("auto-attack", level=logging.WARNING)
    logger.addHandler(_LogCapture(messages))
    printed = io.StringIO()
    trace = sys.gettrace()
    try:
        with python_warnings.catch_warnings(record=True) as caught, contextlib.redirect_stdout(printed):
            python_warnings.simplefilter("default")
            yield logger
    finally:
        sys.settrace(trace)
    messages += [str(warning.message) for warning in caught]
    messages += printed.getvalue().splitlines()
