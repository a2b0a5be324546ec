"""Escalate the attack budget where a larger one broke more images."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from purespike.attacks import SignAttack
from purespike.attacks.protocol import is_iterated, recorded
from purespike.chunks import Json
from purespike.evaluation.allowance import AMPLE, FEWEST, MOST, affordable, counted
from purespike.evaluation.cell import Outcomes
from purespike.evaluation.diagnostics.examination import Examination, strongest
from purespike.evaluation.diagnostics.rule import RULES, ask, in_order
from purespike.evaluation.plan import Job
from purespike.evaluation.runner import Runner
from purespike.models.identity import code_of
from purespike.progress import Bar
from purespike.results import LEVELS, Cell, Finding, Record
from purespike.results.record import Count
from purespike.settings import EvaluationSettings


class Findings(Record):
    """Findings of a rule as they are kept between runs.

    Args:
        findings: the findings.
        passes: images passed through the classifier to find them.
    """

    findings: tuple[Finding, ...]
    passes: Count = 0


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

    def examination(count: int) -> Examination:
        images, labels = runner.examined(clean, count)
        return Examination(
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

    asked = _Asked(runner, progress)
    count = settings.diagnose
    if count is None:
        count = _affordable(asked, examination, taken=sum(cell.forwards or 0 for cell in cells))
    while True:
        e = examination(count)
        progress.begin(f"examination of {len(e)} images", len(RULES), unit="rules")
        e.budget = asked.findings(e, "check_budget").findings
        further = escalated(jobs, e.budget, budgets=budgets, max_cost=settings.max_cost)
        if not further:
            return [found for name in in_order() for found in asked.shown(e, name).findings]
        progress.begin("escalation", len(further), unit="attacks")
        for job in further:
            found = runner.attack(job, *still_robust(job, cells, clean, runner.threats))
            jobs.append(job)
            cells += found
            for cell in found:
                progress.say(cell.line())
            progress.advance(1)


def _affordable(asked: "_Asked", examination: Callable[[int], Examination], *, taken: int) -> int:
    """Number of images whose examination takes no more passes than the attacks ``taken``, by a trial."""
    if taken >= AMPLE * MOST:
        return MOST
    trial = examination(FEWEST)
    asked.progress.begin(f"trial examination of {len(trial)} images", len(RULES), unit="rules")
    spent = sum(asked.shown(trial, name).passes for name in in_order())
    count = affordable(taken, spent, len(trial))
    if count < MOST:
        asked.progress.say(
            f"{count} images are examined, which costs no more than the attacks; --diagnose {MOST} takes more"
        )
    return count


class _Asked:
    """Rules with their findings; each is asked once about the same examination, also by a run that resumes.

    All processes compute the same.
    """

    def __init__(self, runner: Runner, progress: Bar) -> None:
        self.runner, self.progress = runner, progress
        self.known: dict[str, Findings] = {}

    def shown(self, e: Examination, rule: str) -> Findings:
        """:meth:`findings`, which the display counts."""
        found = self.findings(e, rule)
        self.progress.advance(1, rule.removeprefix("check_").replace("_", " "))
        return found

    def findings(self, e: Examination, rule: str) -> Findings:
        """What ``rule`` finds."""
        attacks = [recorded(job.attack) for job in e.jobs]
        known = e.arrived_training, e.missing_classes, e.trained_accuracy
        codes = code_of(RULES[rule].check, *(type(job.attack) for job in e.jobs))
        key = (rule,), attacks, self.runner.threats, e.clean, len(e), asdict(e.thresholds), known, *codes

        def compute() -> Findings:
            with counted(e.model) as passes:
                found = tuple(ask(rule, e))
            return Findings(findings=found, passes=passes.count)

        if repr(key) not in self.known:
            write = self.runner.accelerator.is_main_process
            self.known[repr(key)] = self.runner.store.get(Json(Findings), key, compute, write=write)
        return self.known[repr(key)]


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
