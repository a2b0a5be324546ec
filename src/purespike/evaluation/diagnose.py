"""All diagnostics on a few images of one evaluation."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from purespike.attacks import AttackResult, SignAttack, create_attack, worst_case
from purespike.attacks.protocol import is_iterated
from purespike.evaluation.active_test import check_planted
from purespike.evaluation.cell import Cell
from purespike.evaluation.convergence import (
    Attacker,
    check_budget,
    check_loss,
    check_silent,
    check_stability,
    check_verdicts,
    check_witness,
)
from purespike.evaluation.determinism import check_function, check_mode
from purespike.evaluation.direction import check_direction
from purespike.evaluation.finding import DEFAULT_LIMITS, Finding, Limits
from purespike.evaluation.gradient_health import DETACHED, check_gradients, check_norms, check_scale
from purespike.evaluation.inputs import draws
from purespike.evaluation.invariants import Measured, check_table
from purespike.evaluation.large_budget import check_large_budgets
from purespike.evaluation.plan import Job
from purespike.evaluation.purifier_gap import check_bpda_beyond, check_bpda_transfer
from purespike.evaluation.randomness import check_expectation, check_passes
from purespike.evaluation.scores import score
from purespike.evaluation.surrogate_health import check_neurons, check_surrogates
from purespike.models import Defended
from purespike.seeding import seeded

# queries of the witness: enough to notice a mask, too few to measure with
QUERIES = 300
# of side tests: images, gradient steps, and passes averaged; enough to notice
PLANTED, SWEPT, POINTED, EXPECTED = 12, 16, 8, 8
STEPS, EOT = 20, 5
# surrogates with which the attack is repeated
LEADING = 4


def diagnose(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    jobs: Sequence[Job],
    cells: Sequence[Cell],
    clean: dict[str, list[int]],
    surrogates: Sequence[str],
    losses: Sequence[str],
    budget: Sequence[Finding],
    arrived_training: list[str],
    limits: Limits = DEFAULT_LIMITS,
) -> list[Finding]:
    """Look for reasons not to believe an evaluation.

    What repeats the attack does so with the :func:`leading` surrogates alone; they break nearly all that the
    ensemble does, at a small part of its cost.

    Args:
        model: what was evaluated, in evaluation mode.
        images: some that it classifies correctly, ``[N, C, H, W]``, where the model is; may be none.
        labels: their classes.
        jobs: the evaluation's attacks; the one with most gradient steps is examined.
        cells: its numbers.
        clean: outcomes on clean images, ``"undefended"`` and ``"defended"``.
        surrogates: of its adaptive attacker.
        losses: of its adaptive attacker.
        budget: what :func:`diagnose_budget` found.
        arrived_training: see :func:`purespike.evaluation.determinism.in_training`.
        limits: what is still accepted.
    """
    found = check_mode(arrived_training)
    found += check_table(list(measured(cells, clean)), limits)
    found += check_bpda_beyond(cells, limits)
    if not len(images):
        return found
    with seeded("diagnose", device=images.device):
        found += check_function(model, images, limits)
        health = check_gradients(model, images, labels, limits)
        found += health
        attack = strongest(jobs)
        differentiable = DETACHED not in health
        found += check_neurons(model, images, surrogates if attack and differentiable else (), limits)
        if attack is None or not differentiable:
            return found
        passes = max((cell.passes for cell in cells), default=1)
        examined = _Examined(model, images, labels, attack, cells, surrogates, losses, passes, limits)
        return [*found, *examined.gradients(), *examined.optimisation(budget)]


def diagnose_budget(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    jobs: Sequence[Job],
    cells: Sequence[Cell],
    surrogates: Sequence[str],
    losses: Sequence[str],
    limits: Limits = DEFAULT_LIMITS,
) -> list[Finding]:
    """Would more steps or starts break more? Asked before :func:`diagnose`, for raising a budget.

    Args as there; none is found where there is no gradient to follow.
    """
    attack = strongest(jobs)
    if attack is None or not len(images):
        return []
    with seeded("diagnose", device=images.device):
        if DETACHED in check_gradients(model, images, labels, limits):
            return []
        examined = _Examined(model, images, labels, attack, cells, surrogates, losses, 1, limits)
        return examined.budget()


class _Examined:
    """One attack on one model, and what the diagnostics share of it."""

    def __init__(
        self,
        model: nn.Module,
        images: Tensor,
        labels: Tensor,
        attack: SignAttack,
        cells: Sequence[Cell],
        surrogates: Sequence[str],
        losses: Sequence[str],
        passes: int,
        limits: Limits,
    ) -> None:
        self.model, self.images, self.labels = model, images, labels
        self.attack, self.surrogates, self.losses = attack, tuple(surrogates), tuple(losses)
        self.leading = leading(cells, self.surrogates)
        self.threats = list(dict.fromkeys(cell.threat for cell in cells))
        self.passes, self.limits = passes, limits
        self.random = draws(model, images, limits.nondeterminism)
        # of the same reach, at a bounded cost
        assert isinstance(attack.step_size, float)
        steps = min(attack.steps, STEPS)
        longer = attack.step_size * attack.steps / steps
        self.side = replace(
            attack,
            steps=steps,
            step_size=min(longer, max(attack.step_size, 2.5 * float(attack.eps) / steps)),
            restarts=1,
            eot=min(attack.eot, EOT),
        )
        # what leads comes first: fewer images are left for the others
        all_of_them = tuple(dict.fromkeys((*self.leading, *self.surrogates)))
        self.result = self.attacker(attack, all_of_them)(model, images, labels)
        self.standing = ~self.result.success

    def attacker(self, settings: SignAttack, surrogates: tuple[str, ...] = ()) -> Attacker:
        """``settings`` over some surrogates, those that lead if none are named, and all losses."""

        def attack(model: nn.Module, images: Tensor, labels: Tensor) -> AttackResult:
            chosen = {"surrogates": surrogates or self.leading, "losses": self.losses}
            return worst_case(model, images, labels, attack=settings, **chosen)[0]

        return attack

    def gradients(self) -> Iterator[Finding]:
        given = self.model, self.images, self.labels
        few = self.model, self.images[:POINTED], self.labels[:POINTED]
        yield check_norms(*given, attack=self.attack, limits=self.limits)
        yield check_direction(*few, attack=self.attack, used=self.surrogates, limits=self.limits)
        yield check_scale(*given, self.standing, attack=self.side, limits=self.limits)
        swept = self.model, self.images[:SWEPT], self.labels[:SWEPT]
        yield from check_surrogates(*swept, attack=self.side, used=self.surrogates, limits=self.limits)
        yield from check_large_budgets(self.attacker, *given, attack=self.side, limits=self.limits)

    def optimisation(self, budget: Sequence[Finding]) -> Iterator[Finding]:
        given, standing, limits = (self.model, self.images, self.labels), self.standing, self.limits
        few = self.model, self.images[:EXPECTED], self.labels[:EXPECTED]
        if self.random:
            yield check_passes(self.model, self.result, self.labels, passes=self.passes)
            averaged = replace(self.side, steps=min(self.side.steps, 10), eot=self.attack.eot)
            yield check_expectation(self.attacker, *few, attack=averaged, limits=limits)
        else:
            yield check_verdicts(self.model, self.result, self.labels)
        yield from budget
        yield from self._traces()
        planted = self.model, self.images[:PLANTED], self.labels[:PLANTED]
        yield check_planted(self.attacker, *planted, attack=self.attack, limits=limits)
        if isinstance(self.model, Defended) and "bpda" in self.threats:
            yield check_bpda_transfer(
                self.model,
                self.images,
                self.labels,
                self.result.success,
                attack=self.side,
                threats=self.threats,
                limits=limits,
            )
        square = create_attack("square", eps=self.attack.eps, norm=self.attack.norm, queries=QUERIES)
        name = f"Square ({QUERIES} queries)"
        yield check_witness(*given, standing, witness=square, name=name, limits=limits)

    def budget(self) -> list[Finding]:
        return check_budget(
            self.attacker,
            self.model,
            self.images,
            self.labels,
            self.standing,
            attack=self.attack,
            random=self.random,
            limits=self.limits,
        )

    def _traces(self) -> Iterator[Finding]:
        own = replace(self.attack, stop_early=False, restarts=1)
        as_run = own(self.model, self.images, self.labels)
        with torch.no_grad():
            classes = self.model(self.images[:1]).shape[1]
        yield check_silent(as_run, loss=own.loss, classes=classes)
        if self.standing.any():
            slow = replace(own, loss=self.losses[-1])
            result = slow(self.model, self.images[self.standing], self.labels[self.standing])
            yield check_loss(result, self.limits)
            yield check_stability(result, self.limits)


def strongest(jobs: Sequence[Job]) -> SignAttack | None:
    """The attack with most gradient steps at the first budget."""
    attacks = [job.attack for job in jobs if is_iterated(job.attack)]
    at_first = [attack for attack in attacks if attack.eps == attacks[0].eps]
    return max(at_first, key=lambda attack: attack.steps * attack.restarts, default=None)


def leading(cells: Sequence[Cell], surrogates: tuple[str, ...]) -> tuple[str, ...]:
    """Those that broke most images in the adaptive ``cells``, at most :data:`LEADING` of them."""
    broken = dict.fromkeys(surrogates, 0)
    for cell in cells:
        if cell.threat == "adaptive":
            for component in cell.components:
                broken[component["surrogate"]] = broken.get(component["surrogate"], 0) + component["broken"]
    order = sorted(surrogates, key=lambda name: -broken[name])[:LEADING]
    return tuple(name for name in order if broken[name]) or surrogates[:LEADING]


def measured(cells: Sequence[Cell], clean: dict[str, list[int]]) -> Iterator[Measured]:
    """The table's rows, clean accuracy first, with the outcomes of each image."""
    for threat in dict.fromkeys(cell.threat for cell in cells):
        column = clean["undefended" if threat == "undefended" else "defended"]
        yield Measured("clean", threat, score(column)["accuracy"], outcomes=tuple(column))
    for cell in cells:
        row = Measured(
            cell.attack,
            cell.threat,
            score(cell.outcomes)["accuracy"],
            cell.eps,
            cell.settings.get("steps", 1),
            cell.norm,
            cell.settings.get("restarts", 1),
            cell.raised_from,
            tuple(cell.outcomes),
        )
        if cell.norm != "noise":
            yield row
        else:
            # as large as an attack's budget in either norm
            yield replace(row, eps=cell.settings.get("level"), norm="linf")
            yield replace(row, eps=cell.mean_l2, norm="l2")


def sample(images: Tensor, labels: Tensor, right: list[int], count: int) -> tuple[Tensor, Tensor]:
    """The first ``count`` images that are right when clean."""
    rows = torch.tensor(right, dtype=torch.bool).nonzero().squeeze(1)[:count]
    return images[rows], labels[rows]
