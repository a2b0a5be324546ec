"""Budgets that rise by themselves where the diagnostics saw that more of them breaks more."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from purespike.attacks import SignAttack
from purespike.attacks.protocol import is_iterated
from purespike.evaluation.cell import Cell
from purespike.evaluation.diagnose import strongest
from purespike.evaluation.finding import LEVELS, Finding
from purespike.evaluation.plan import Job, passes_of


def raised(
    jobs: Sequence[Job], findings: Sequence[Finding], *, budgets: Sequence[float], max_cost: int
) -> list[Job]:
    """The strongest attack at each of ``budgets`` with what the findings call for; none if nothing does.

    Args:
        jobs: those run so far.
        findings: of the diagnostics; what they call for is in ``remedy``.
        budgets: of the table.
        max_cost: gradients an image, surrogate and loss that an attack may take.
    """
    remedy: dict[str, Any] = {}
    for finding in findings:
        if finding.level != LEVELS[0] and finding.remedy:
            remedy.update(finding.remedy)
    base = strongest(jobs)
    if base is None or not remedy:
        return []
    attack = replace(base, **remedy)
    if attack == base or passes_of(attack) > max_cost:
        return []
    return [
        Job(replace(job.attack, **remedy), job.eps, raised_from=job)
        for job in jobs
        if job.eps in budgets and _same(job, base)
    ]


def _same(job: Job, base: SignAttack) -> bool:
    """Whether ``job`` is ``base`` at another budget, to which its step may be fitted."""
    if not is_iterated(job.attack):
        return False
    return replace(job.attack, eps=base.eps, step_size=base.step_size) == base


def still_standing(
    job: Job, cells: Sequence[Cell], clean: Mapping[str, list[int]], threats: Sequence[str]
) -> tuple[dict[str, list[int]], list[str]]:
    """What the attack that ``job`` goes on from left standing, and the threat model under which it goes on.

    That is ``adaptive`` where it is among ``threats``: its is the number that a defence is judged by.
    """
    order = [name for name in ("adaptive", "undefended", "bpda") if name in threats]
    assert job.raised_from is not None
    settings = job.raised_from.attack
    for cell in cells:
        same = cell.attack == settings.name and cell.eps == job.eps and cell.threat == order[0]
        if same and all(getattr(settings, key) == value for key, value in cell.settings.items()):
            return {**clean, "undefended": cell.outcomes, "defended": cell.outcomes}, order[:1]
    raise AssertionError("a raised attack goes on from one that was run")
