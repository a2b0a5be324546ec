"""All diagnostics on a few images of one evaluation."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from purespike.attacks import AttackResult, SignAttack, create_attack, worst_case
from purespike.evaluation.cell import Cell
from purespike.evaluation.convergence import Attacker, check_budget, check_loss, check_verdicts, check_witness
from purespike.evaluation.determinism import check_function, check_mode
from purespike.evaluation.finding import DEFAULT_LIMITS, Finding, Limits
from purespike.evaluation.gradient_health import DETACHED, check_gradients, check_neurons, check_surrogates
from purespike.evaluation.invariants import Measured, check_table
from purespike.evaluation.plan import Job
from purespike.evaluation.scores import score

# queries of the witness: enough to notice a mask, too few to measure with
QUERIES = 300


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
    arrived_training: list[str],
    limits: Limits = DEFAULT_LIMITS,
) -> list[Finding]:
    """Look for reasons not to believe an evaluation.

    Args:
        model: what was evaluated, in evaluation mode.
        images: some that it classifies correctly, ``[N, C, H, W]``, where the model is; may be none.
        labels: their classes.
        jobs: the evaluation's attacks; the one with most gradient steps is examined.
        cells: its numbers.
        clean: outcomes on clean images, ``"undefended"`` and ``"defended"``.
        surrogates: of its adaptive attacker.
        losses: of its adaptive attacker.
        arrived_training: see :func:`purespike.evaluation.determinism.in_training`.
        limits: what is still accepted.
    """
    found = check_mode(arrived_training)
    found += check_table(list(_measured(cells, clean)), limits)
    if not len(images):
        return found
    found += check_function(model, images, limits)
    found += check_gradients(model, images, labels, limits)
    found += check_neurons(model, images)
    attack = _strongest(jobs)
    if attack is None or DETACHED in found:
        return found
    found += check_surrogates(model, images, labels, attack=attack, used=surrogates, limits=limits)

    def ensemble(settings: SignAttack) -> Attacker:
        def attacker(model: nn.Module, images: Tensor, labels: Tensor) -> AttackResult:
            return worst_case(model, images, labels, attack=settings, surrogates=surrogates, losses=losses)[0]

        return attacker

    result = ensemble(attack)(model, images, labels)
    standing = ~result.success
    found.append(check_verdicts(model, result, labels))
    found += check_budget(ensemble, model, images, labels, standing, attack=attack, limits=limits)
    if standing.any():
        slow = replace(attack, loss=losses[-1])
        found.append(check_loss(slow(model, images[standing], labels[standing])))
    square = create_attack("square", eps=attack.eps, queries=QUERIES)
    found.append(
        check_witness(
            model, images, labels, standing, witness=square, name=f"Square ({QUERIES} queries)", limits=limits
        )
    )
    return found


def _strongest(jobs: Sequence[Job]) -> SignAttack | None:
    """The attack with most gradient steps at the first budget."""
    attacks = [job.attack for job in jobs if isinstance(job.attack, SignAttack)]
    at_first = [attack for attack in attacks if attack.eps == attacks[0].eps]
    return max(at_first, key=lambda attack: attack.steps, default=None)


def _measured(cells: Sequence[Cell], clean: dict[str, list[int]]) -> Iterator[Measured]:
    for threat in dict.fromkeys(cell.threat for cell in cells):
        column = clean["undefended" if threat == "undefended" else "defended"]
        yield Measured("clean", threat, score(column)["accuracy"])
    for cell in cells:
        eps = cell.settings.get("level") if cell.norm == "noise" else cell.eps
        accuracy = score(cell.outcomes)["accuracy"]
        yield Measured(cell.attack, cell.threat, accuracy, eps, cell.settings.get("steps", 1))


def sample(images: Tensor, labels: Tensor, right: list[int], count: int) -> tuple[Tensor, Tensor]:
    """The first ``count`` images that are right when clean."""
    rows = torch.tensor(right, dtype=torch.bool).nonzero().squeeze(1)[:count]
    return images[rows], labels[rows]
