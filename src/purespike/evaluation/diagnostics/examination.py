"""An examination: one evaluation under diagnosis, and the expensive things that its rules share."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from purespike.attacks import AttackResult, SignAttack, worst_case
from purespike.attacks.adaptive import adaptive_routes
from purespike.attacks.objective import cross_entropy, frozen_eval, margin
from purespike.attacks.protocol import is_iterated
from purespike.attacks.run import run_attack
from purespike.evaluation.inputs import Nature, nature
from purespike.evaluation.plan import LOSSES, SURROGATES, Job
from purespike.evaluation.threat import classifier_of
from purespike.models.answer import logits_of
from purespike.neurons import accepted
from purespike.results import Cell, Finding
from purespike.seeding import seeded
from purespike.settings import DEFAULT_THRESHOLDS, Thresholds

Attacker = Callable[[nn.Module, Tensor, Tensor], AttackResult]
T = TypeVar("T")

# bounds of side tests: gradient steps and passes averaged; enough to notice
STEPS, EOT = 20, 5
# surrogates with which the attack is repeated
LEADING = 4


def _seeded(compute: "Callable[[Examination], T]") -> "cached_property[T]":
    """A property computed once, whose random draws do not depend on which rule asks for it first."""

    def run(self: "Examination") -> T:
        with seeded("diagnose", compute.__name__, device=self.images.device):
            return compute(self)

    run.__doc__ = compute.__doc__
    return cached_property(run)


class Examination:
    """One evaluation under diagnosis; expensive things are computed once, when a rule first asks.

    Repeated attacks use the :func:`leading` surrogates alone; they break nearly all that the ensemble does,
    at a small part of its cost.

    Args:
        model: the evaluated model, in evaluation mode.
        images: images that it classifies correctly, ``[N, C, H, W]``, on its device; may be none.
        labels: their classes.
        jobs: attacks of the evaluation; the :func:`strongest` is examined.
        cells: numbers of the evaluation.
        clean: outcomes on clean images, ``"undefended"`` and ``"defended"``.
        surrogates: surrogates of the adaptive attacker.
        losses: losses of the adaptive attacker.
        arrived_training: modules that were handed over in training mode.
        truth: true class of each image of the evaluation, right or wrong.
        missing_classes: classes of the data that the evaluated subset lacks.
        thresholds: tolerances.
        known: any lazily computed property, by name, that is known already: ``attack``, ``robust``, …

    ``budget`` holds the findings on the attack's budget once they are known.
    """

    def __init__(
        self,
        model: nn.Module,
        images: Tensor,
        labels: Tensor,
        *,
        jobs: Sequence[Job] = (),
        cells: Sequence[Cell] = (),
        clean: Mapping[str, Sequence[int]] | None = None,
        surrogates: Sequence[str] = SURROGATES,
        losses: Sequence[str] = LOSSES,
        arrived_training: Sequence[str] = (),
        truth: Sequence[int] = (),
        missing_classes: Sequence[int] = (),
        thresholds: Thresholds = DEFAULT_THRESHOLDS,
        **known: Any,
    ) -> None:
        self.model, self.images, self.labels = model, images, labels
        self.jobs, self.cells, self.clean = tuple(jobs), tuple(cells), dict(clean or {})
        self.surrogates, self.losses = accepted(model, surrogates), tuple(losses)
        self.arrived_training, self.thresholds = tuple(arrived_training), thresholds
        self.truth, self.missing_classes = tuple(truth), tuple(missing_classes)
        self.budget: Sequence[Finding] | None = None
        for name, value in known.items():
            assert isinstance(getattr(type(self), name), cached_property), name
            self.__dict__[name] = value

    def __len__(self) -> int:
        """Number of images."""
        return len(self.images)

    @property
    def given(self) -> tuple[nn.Module, Tensor, Tensor]:
        """Model, images and labels."""
        return self.model, self.images, self.labels

    def first(self, count: int) -> tuple[nn.Module, Tensor, Tensor]:
        """Model, and the first ``count`` images and labels."""
        return self.model, self.images[:count], self.labels[:count]

    @cached_property
    def attackable(self) -> bool:
        """Whether there is an attack by gradient steps, and a path for gradients."""
        return self.has_attack and self.gradients is not None

    @property
    def has_attack(self) -> bool:
        """Whether there is an attack by gradient steps."""
        return "attack" in self.__dict__ or strongest(self.jobs) is not None

    @cached_property
    def attack(self) -> SignAttack:
        """The strongest attack."""
        found = strongest(self.jobs)
        assert found is not None
        return found

    @cached_property
    def leading(self) -> tuple[str, ...]:
        """Surrogates that broke most images."""
        return leading(self.cells, self.surrogates)

    @cached_property
    def threats(self) -> tuple[str, ...]:
        """Threat models of the evaluation."""
        return tuple(dict.fromkeys(cell.threat for cell in self.cells))

    @property
    def trained_accuracy(self) -> float | None:
        """Test accuracy that the classifier's training recorded, where its checkpoint is in a run folder."""
        accuracy = getattr(classifier_of(self.model), "trained_accuracy", None)
        return accuracy if isinstance(accuracy, float) else None

    @cached_property
    def passes(self) -> int:
        """Passes over which the evaluation judged each image."""
        return max((cell.passes for cell in self.cells), default=1)

    @cached_property
    def passes_taken(self) -> int | None:
        """Passes of an image through the model that all attacks of the table took; ``None`` if unknown."""
        images = len(self.cells[0].outcomes) if self.cells else 0
        taken = sum((cell.forwards or 0) + (cell.backwards or 0) for cell in self.cells)
        return -(-taken // images) if images and taken else None

    @cached_property
    def nature(self) -> Nature:
        """How the answers of the model to the same images differ."""
        return nature(self.model, self.images, self.thresholds.nondeterminism)

    @cached_property
    def stochastic(self) -> bool:
        """Whether the model is stochastic."""
        return self.nature.kind == "stochastic"

    @_seeded
    def gradients(self) -> tuple[Tensor, Tensor] | None:
        """Input gradients of cross-entropy and margin; ``None`` where autograd finds no path."""
        with frozen_eval(self.model), torch.enable_grad():
            leaf = self.images.detach().clone().requires_grad_()
            logits = logits_of(self.model, leaf)
            if not logits.requires_grad:
                return None
            entropies, margins = (loss(logits, self.labels).sum() for loss in (cross_entropy, margin))
            (by_entropy,) = torch.autograd.grad(entropies, leaf, retain_graph=True, allow_unused=True)
            (by_margin,) = torch.autograd.grad(margins, leaf, allow_unused=True)
        return None if by_entropy is None or by_margin is None else (by_entropy, by_margin)

    @cached_property
    def side(self) -> SignAttack:
        """The attack with fewer steps of the same reach, at a bounded cost."""
        attack, steps = self.attack, min(self.attack.steps, STEPS)
        longer = attack.step_length * attack.steps / steps
        return replace(
            attack,
            steps=steps,
            step_size=min(longer, max(attack.step_length, 2.5 * attack.eps / steps)),
            restarts=1,
            eot=min(attack.eot, EOT),
        )

    @_seeded
    def result(self) -> AttackResult:
        """The attack over all surrogates, resets and losses; those that lead come first."""
        surrogates = tuple(dict.fromkeys((*self.leading, *self.surrogates)))
        return self.attacker(self.attack, surrogates)(*self.given)

    @cached_property
    def robust(self) -> Tensor:
        """Images that withstand the attack, bool ``[N]``."""
        return ~self.result.success

    @_seeded
    def as_run(self) -> AttackResult:
        """The attack on the model's own gradient and loss, not stopped early."""
        return run_attack(replace(self.attack, stop_early=False, restarts=1), *self.given)

    @_seeded
    def slow(self) -> AttackResult | None:
        """The attack with the last loss on the robust images, not stopped early; ``None`` without any."""
        if not self.robust.any():
            return None
        attack = replace(self.attack, stop_early=False, restarts=1, loss=self.losses[-1])
        return run_attack(attack, self.model, self.images[self.robust], self.labels[self.robust])

    def cost(self, attack: SignAttack, images: int, *, routes: int = 1) -> int:
        """Most passes of an attack: one for each image forwards, and two more where it is differentiated.

        Args:
            attack: attack that stops no image early.
            images: number of images.
            routes: number of routes that it follows, none of which breaks an image.
        """
        # in half precision each iterate may be judged again; with eot it is asked whether the model draws
        step, last = (3, 1) if attack.precision == "fp32" else (4, 3)
        asked = attack.eot if attack.eot > 1 else 0
        return routes * images * (attack.restarts * attack.eot * (step * attack.steps + last) + asked)

    @property
    def routes(self) -> int:
        """Number of the attacker's routes with the leading surrogates."""
        return self._routes(self.leading, both_resets=False)

    @property
    def unbroken(self) -> int:
        """Number of robust images where the table tells, else of all."""
        return int(self.robust.sum()) if "robust" in self.__dict__ else len(self)

    @property
    def cost_of_robust(self) -> int:
        """Most passes that :attr:`robust` takes, where the table does not tell."""
        if "robust" in self.__dict__:
            return 0
        return self.cost(self.attack, len(self), routes=self._routes(self.surrogates, both_resets=True))

    @property
    def cost_as_run(self) -> int:
        """Most passes that :attr:`as_run` takes."""
        return self.cost(replace(self.attack, restarts=1), len(self))

    @property
    def cost_slow(self) -> int:
        """Most passes that :attr:`slow` takes, with what it needs."""
        return self.cost_of_robust + self.cost(replace(self.attack, restarts=1), self.unbroken)

    def _routes(self, surrogates: tuple[str, ...], *, both_resets: bool) -> int:
        return len(
            adaptive_routes(
                self.model, self.attack, surrogates=surrogates, losses=self.losses, both_resets=both_resets
            )
        )

    def attacker(self, settings: SignAttack, surrogates: tuple[str, ...] = ()) -> Attacker:
        """``settings`` over all losses, and both resets of the surrogates named, or else the leading ones."""

        def attack(model: nn.Module, images: Tensor, labels: Tensor) -> AttackResult:
            return worst_case(
                model,
                images,
                labels,
                attack=settings,
                surrogates=surrogates or self.leading,
                losses=self.losses,
                both_resets=bool(surrogates),
            )[0]

        return attack


def strongest(jobs: Sequence[Job]) -> SignAttack | None:
    """The attack with most gradient steps at the first budget."""
    attacks = [job.attack for job in jobs if is_iterated(job.attack)]
    at_first = [attack for attack in attacks if attack.eps == attacks[0].eps]
    return max(at_first, key=lambda attack: attack.steps * attack.restarts, default=None)


def leading(cells: Sequence[Cell], surrogates: tuple[str, ...]) -> tuple[str, ...]:
    """Surrogates that broke most images in the adaptive ``cells``, at most :data:`LEADING` of them."""
    broken = dict.fromkeys(surrogates, 0)
    for cell in cells:
        if cell.threat == "adaptive":
            for part in cell.components:
                broken[part.surrogate] = broken.get(part.surrogate, 0) + part.broken
    order = sorted(surrogates, key=lambda name: -broken[name])[:LEADING]
    return tuple(name for name in order if broken[name]) or surrogates[:LEADING]


def input_gradient_of_margin(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """Gradient of the margin, which does not saturate as the cross-entropy does, ``[N, C, H, W]``."""
    with frozen_eval(model), torch.enable_grad():
        leaf = images.detach().clone().requires_grad_()
        (gradient,) = torch.autograd.grad(margin(logits_of(model, leaf), labels).sum(), leaf)
    return gradient
