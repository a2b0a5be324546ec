"""Escalate the attack budget where a larger one broke more images."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from purespike.attacks import SignAttack
from purespike.attacks.protocol import is_iterated, recorded
from purespike.chunks import Json
from purespike.evaluation.cell import Outcomes
from purespike.evaluation.diagnostics.examination import Examination, strongest
from purespike.evaluation.diagnostics.rule import RULES, ask, in_order
from purespike.evaluation.plan import Job
from purespike.evaluation.runner import Runner
from purespike.progress import Bar
from purespike.results import LEVELS, Cell, Finding, Record
from purespike.settings import EvaluationSettings


class Findings(Record):
    """Findings as they are kept between runs."""

    findings: tuple[Finding, ...]


def examine_and_escalate(
    runner: Runner,
    jobs: list[Job],
    cells: list[Cell],
    clean: Outcomes,
    *,
    budgets: Sequence[float],
    settings: EvaluationSettings,
    arrived_training: Sequence[str],
    missing_classes: Sequence[int],
    progress: Bar,
) -> list[Finding]:
    """Examine the evaluation; attack again while a larger budget breaks more; then the findings of all rules.

    Args:
        runner: runs further attacks, and keeps findings.
        jobs: attacks that were run; escalated ones are appended.
        cells: their numbers; those of escalated attacks are appended.
        clean: outcomes on clean images.
        budgets: budgets of the table.
        settings: number of images to examine, tolerances, and the cost up to which budgets are escalated.
        arrived_training: modules that were handed over in training mode.
        missing_classes: classes of the data that the attacked subset lacks.
        progress: display of the evaluation, which shows each rule.
    """
    images, labels = runner.examined(clean, settings.diagnose)
    while True:
        e = Examination(
            runner.model,
            images,
            labels,
            jobs=jobs,
            cells=cells,
            clean=clean,
            surrogates=runner.scene.surrogates,
            losses=runner.scene.losses,
            arrived_training=arrived_training,
            truth=runner.labels.tolist(),
            missing_classes=missing_classes,
            thresholds=settings.thresholds,
        )
        progress.begin(f"examination of {len(e)} images", len(RULES), unit="rules")
        e.budget = _kept(runner, e, "check_budget")
        further = escalated(jobs, e.budget, budgets=budgets, max_cost=settings.max_cost)
        if not further:
            return [found for name in in_order() for found in _shown(progress, runner, e, name)]
        progress.begin("escalation", len(further), unit="attacks")
        for job in further:
            found = runner.attack(job, *still_robust(job, cells, clean, runner.threats))
            jobs.append(job)
            cells += found
            for cell in found:
                progress.say(cell.line())
            progress.advance(1)


def _shown(progress: Bar, runner: Runner, e: Examination, rule: str) -> list[Finding]:
    found = _kept(runner, e, rule)
    progress.advance(1, rule.removeprefix("check_").replace("_", " "))
    return found


def _kept(runner: Runner, e: Examination, rule: str) -> list[Finding]:
    """Findings of ``rule`` that an earlier run kept, else new ones; all processes compute the same.

    Each rule is kept by itself, so that an examination that was killed goes on with the next one.
    """
    attacks = [recorded(job.attack) for job in e.jobs]
    known = e.arrived_training, e.missing_classes, e.trained_accuracy
    key = (rule,), attacks, runner.threats, e.clean, len(e), asdict(e.thresholds), known
    write = runner.accelerator.is_main_process
    row = runner.store.get(Json(Findings), key, lambda: Findings(findings=tuple(ask(rule, e))), write=write)
    return list(row.findings)


def escalated(
    jobs: Sequence[Job], findings: Sequence[Finding], *, budgets: Sequence[float], max_cost: int
) -> list[Job]:
    """The strongest attack at each of ``budgets`` with the remedies of the findings; none without remedy.

    Args:
        jobs: attacks run so far.
        findings: findings of the diagnostics.
        budgets: budgets of the table.
        max_cost: gradients per image, surrogate and loss that an attack may take.
    """
    remedy: dict[str, Any] = {}
    for finding in findings:
        if finding.level != LEVELS[0] and finding.remedy:
            remedy.update(finding.remedy)
    base = strongest(jobs)
    if base is None or not remedy:
        return []
    attack = replace(base, **remedy)
    if attack == base or attack.passes > max_cost:
        return []
    return [
        Job(replace(job.attack, **remedy), job.eps, raised_from=job)
        for job in jobs
        if job.eps in budgets and _same(job, base)
    ]


def _same(job: Job, base: SignAttack) -> bool:
    """Whether ``job`` is ``base`` at another budget, to which its step may be fitted."""
    attack = job.attack
    return is_iterated(attack) and replace(attack, eps=base.eps, step_size=base.step_size) == base


def still_robust(
    job: Job, cells: Sequence[Cell], clean: Mapping[str, Sequence[int]], threats: Sequence[str]
) -> tuple[Outcomes, list[str]]:
    """Outcomes of the attack that ``job`` goes on from, and the threat model under which it goes on.

    That is ``adaptive`` where it is among ``threats``: a defence is judged by its number.
    """
    order = [name for name in ("adaptive", "undefended", "bpda") if name in threats]
    assert job.raised_from is not None
    settings = recorded(job.raised_from.attack)
    for cell in cells:
        same = cell.attack == settings["name"] and cell.eps == job.eps and cell.threat == order[0]
        if same and all(settings[key] == value for key, value in (cell.settings.model_extra or {}).items()):
            return {**clean, "undefended": cell.outcomes, "defended": cell.outcomes}, order[:1]
    raise AssertionError("an escalated attack goes on from one that was run")
