"""Escalate the attack budget where a larger one broke more images."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import torch

from purespike.attacks import SignAttack
from purespike.attacks.protocol import is_iterated, recorded
from purespike.chunks import Json
from purespike.environment import source_digest
from purespike.evaluation.allowance import LEAST, MOST, Plan, everything, passes_taken, planned
from purespike.evaluation.cell import Outcomes
from purespike.evaluation.diagnostics.examination import Examination, strongest
from purespike.evaluation.diagnostics.rule import RULES, ask
from purespike.evaluation.followed import followed, most_passes
from purespike.evaluation.plan import Job
from purespike.evaluation.runner import Runner
from purespike.models import Defended
from purespike.models.answer import passes_told
from purespike.models.identity import code_of
from purespike.progress import Bar
from purespike.results import LEVELS, Cell, Finding, Record
from purespike.settings import EvaluationSettings


class Findings(Record):
    """Findings of a rule as they are kept between runs.

    Args:
        findings: the findings.
    """

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
    stochastic: bool,
    progress: Bar,
) -> list[Finding]:
    """Examine the evaluation; attack again while a larger budget breaks more; then the findings of all rules.

    Unless the settings name a number of images, the examination takes no more passes than the attacks. What
    it takes is known before, from settings and outcomes alone: it is the same on every machine, and in a run
    that resumes.

    Args:
        runner: runs further attacks, and keeps findings.
        jobs: attacks that were run; escalated ones are appended.
        cells: their numbers; those of escalated attacks are appended.
        clean: outcomes on clean images.
        budgets: budgets of the table.
        settings: number of images to examine, tolerances, and the cost up to which budgets are escalated.
        arrived_training: modules that were handed over in training mode.
        missing_classes: classes of the data that the attacked subset lacks.
        stochastic: whether the model is stochastic.
        progress: display of the evaluation, which shows each rule.
    """

    def examination(count: int) -> Examination:
        rows, images, labels = runner.examined(clean, count)
        known: dict[str, Any] = {"stochastic": stochastic}
        outcomes = adaptive_outcomes(jobs, cells)
        if outcomes is not None:
            known["robust"] = torch.tensor(outcomes, dtype=torch.bool)[rows].to(images.device)
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
            **known,
        )

    def plan() -> Plan:
        if settings.diagnose is not None:
            return everything(examination(settings.diagnose))
        taken = passes_taken(cells, defended=isinstance(runner.model, Defended))
        routes = max(1, len(runner.scene.surrogates)) * len(runner.scene.losses)
        most = 3 * settings.max_cost * routes * len(runner.labels)
        return planned(examination, min(max(taken, LEAST), most) - spent)

    asked, spent = _Asked(runner), 0
    while True:
        now = plan()
        e = now.examination
        progress.begin(f"examination of {len(e)} images", sum(now.asked.values()), unit="passes")
        if "check_budget" in now.asked:
            with _followed(progress, now.asked["check_budget"], "budget"):
                e.budget = asked.findings(e, "check_budget")
        further = escalated(jobs, e.budget or (), budgets=budgets, max_cost=settings.max_cost)
        if not further:
            return list(_all_findings(now, asked, progress))
        spent += now.asked["check_budget"]
        raised = [(job, *still_robust(job, cells, clean, runner.threats)) for job in further]
        work = sum(most_passes(job, runner.scene, threats) for job, _, threats in raised)
        progress.begin("escalation", work * len(runner.labels), unit="passes")
        for job, before, threats in raised:
            cells += followed(runner, job, before, threats, progress)
            jobs.append(job)


def _all_findings(plan: Plan, asked: "_Asked", progress: Bar) -> Iterator[Finding]:
    """The findings of the rules that are asked, and one that names the others."""
    count = len(plan.examination)
    if plan.allowance is not None and count < min(MOST, sum(plan.examination.clean["defended"])):
        cheap = "" if plan.allowance <= LEAST else ", which costs no more than the attacks"
        progress.say(f"{count} images are examined{cheap}; --diagnose {MOST} takes more")
    for name, passes in plan.asked.items():
        # the budget was asked about first
        left = passes if name != "check_budget" else 0
        with _followed(progress, left, name.removeprefix("check_").replace("_", " ")):
            found = asked.findings(plan.examination, name)
        yield from found
    if left_out := plan.finding():
        progress.say(f"{left_out.name}: {left_out.message}")
        yield left_out


@contextlib.contextmanager
def _followed(progress: Bar, most: int, rule: str) -> Iterator[None]:
    """Show the passes of a rule while it takes them; at its end, those that it did not need as well."""
    left = most

    def tell(images: int, differentiated: bool) -> None:
        nonlocal left
        count = min(images * (3 if differentiated else 1), left)
        left -= count
        progress.advance(count, rule)

    with passes_told(tell):
        yield
    progress.advance(left, rule)


class _Asked:
    """Rules with their findings; each is asked once about the same examination, also by a run that resumes.

    All processes compute the same.
    """

    def __init__(self, runner: Runner) -> None:
        self.runner = runner
        self.known: dict[str, Findings] = {}

    def findings(self, e: Examination, rule: str) -> tuple[Finding, ...]:
        """What ``rule`` finds."""
        attacks = [recorded(job.attack) for job in e.jobs]
        known = e.arrived_training, e.missing_classes, e.trained_accuracy
        codes = code_of(RULES[rule].check, *(type(job.attack) for job in e.jobs))
        key = (rule,), attacks, self.runner.threats, e.clean, len(e), asdict(e.thresholds), known, *codes
        # a rule stands on half of the package: what it found before a correction is no finding
        key = (*key, source_digest())

        def compute() -> Findings:
            return Findings(findings=tuple(ask(rule, e)))

        if repr(key) not in self.known:
            write = self.runner.accelerator.is_main_process
            self.known[repr(key)] = self.runner.store.get(Json(Findings), key, compute, write=write)
        return self.known[repr(key)].findings


def escalated(
    jobs: Sequence[Job], findings: Sequence[Finding], *, budgets: Sequence[float], max_cost: int
) -> list[Job]:
    """The strongest attack at each of ``budgets`` with the remedies of the findings; none without remedy.

    Args:
        jobs: attacks run so far.
        findings: findings of the diagnostics.
        budgets: budgets of the table.
        max_cost: gradients per image, surrogate and loss that all escalated attacks may take together.
    """
    remedy: dict[str, Any] = {}
    for finding in findings:
        if finding.level != LEVELS[0] and finding.remedy:
            remedy.update(finding.remedy)
    base = strongest(jobs)
    if base is None or not remedy:
        return []
    attack = replace(base, **remedy)
    before = [job.attack.passes for job in jobs if job.raised_from and job.eps == base.eps]
    if attack == base or attack.passes + sum(before) > max_cost:
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
    cell = _cell(job.raised_from, cells, order[0])
    assert cell is not None, "an escalated attack goes on from one that was run"
    return {**clean, "undefended": cell.outcomes, "defended": cell.outcomes}, order[:1]


def adaptive_outcomes(jobs: Sequence[Job], cells: Sequence[Cell]) -> Sequence[int] | None:
    """1 for each image robust to the adaptive attacker's strongest attack; ``None`` if the table lacks it."""
    attack = strongest(jobs)
    job = next((job for job in jobs if job.attack == attack), None)
    cell = None if job is None else _cell(job, cells, "adaptive")
    return None if cell is None else cell.outcomes


def _cell(job: Job, cells: Sequence[Cell], threat: str) -> Cell | None:
    """The number of an attack under a threat model."""
    settings = recorded(job.attack)
    for cell in cells:
        same = cell.attack == settings["name"] and cell.eps == job.eps and cell.threat == threat
        if same and all(settings[key] == value for key, value in (cell.settings.model_extra or {}).items()):
            return cell
    return None
