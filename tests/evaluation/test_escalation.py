"""Budgets are escalated where more steps or starts break more, up to a cost."""

import functools
from collections import Counter
from dataclasses import replace

import pytest
from torch import nn

import purespike
from evaluation.diagnostics.asking import cell
from evaluation.victims import foreign, photographs, plain
from purespike.attacks import create_attack
from purespike.evaluation import escalation
from purespike.evaluation.diagnostics import RULES, rule
from purespike.evaluation.escalation import escalated, still_robust
from purespike.evaluation.plan import Job
from purespike.models import Defended
from purespike.progress import Bar
from purespike.results import AttackSettings, Finding

EPS = (8 / 255, 16 / 255)
WEAK = create_attack("pgd", steps=4, step_size=1 / 255, eps=EPS[0])


def jobs():
    return [
        Job(create_attack("fgsm", eps=EPS[0]), EPS[0]),
        *(Job(replace(WEAK, eps=eps), eps) for eps in EPS),
        Job(replace(WEAK, eps=0.1), 0.1),
        Job(create_attack("apgd_ce", eps=EPS[0]), EPS[0]),
    ]


def finding(level="suspicious", remedy=None):
    words = {"name": "budget", "group": "optimisation", "message": "", "advice": "", "source": ""}
    return Finding(level=level, remedy=remedy, **words)


@pytest.mark.parametrize(
    ("findings", "changes"),
    [
        ([], None),
        ([finding()], None),
        ([finding("reliable", {"steps": 8})], None),
        ([finding(remedy={"steps": 8})], {"steps": 8}),
        ([finding(remedy={"restarts": 4, "random_start": True})], {"restarts": 4}),
        (
            [finding(remedy={"steps": 8}), finding(remedy={"restarts": 4, "random_start": True})],
            {"steps": 8, "restarts": 4},
        ),
        ([finding(remedy={"steps": 4})], None),
        ([finding(remedy={"steps": 101})], None),
    ],
)
def test_the_strongest_attack_takes_the_remedies_at_each_budget_of_the_table(findings, changes):
    found = escalated(jobs(), findings, budgets=EPS, max_cost=100)
    expected = [] if changes is None else [replace(WEAK, eps=eps, **changes) for eps in EPS]
    assert [job.attack for job in found] == expected
    assert [job.eps for job in found] == [attack.eps for attack in expected]
    assert all(job.raised_from.attack == replace(WEAK, eps=job.eps) for job in found)


def test_all_rounds_of_a_budget_share_what_they_may_cost():
    first, second, further = (replace(WEAK, steps=steps) for steps in (8, 16, 32))
    raised = [*jobs(), *(Job(each, EPS[0], raised_from=Job(WEAK, EPS[0])) for each in (first, second))]
    # at another budget, which has a share of its own
    raised += [Job(replace(WEAK, eps=EPS[1], steps=16), EPS[1], raised_from=Job(WEAK, EPS[1]))]
    remedies = [finding(remedy={"steps": 32})]
    found = escalated(raised, remedies, budgets=EPS, max_cost=8 + 16 + 32)
    assert [job.attack for job in found] == [further, replace(further, eps=EPS[1])]
    assert escalated(raised, remedies, budgets=EPS, max_cost=8 + 16 + 31) == []


@functools.cache
def blurring():
    return Defended(nn.AvgPool2d(3, 1, 1), foreign()).eval()


@functools.cache
def evaluate(max_cost=64, folder=None):
    """Steps so small that more of them are needed."""
    weak = {"name": "pgd", "steps": 2, "step_size": 4 / 255, "random_start": False}
    return purespike.evaluate(
        blurring(),
        photographs(32, seed=7),
        attacks=[weak],
        eps=24 / 255,
        threat=["bpda", "adaptive"],
        surrogates=["atan(alpha=2)"],
        losses=["margin"],
        diagnose=32,
        max_cost=max_cost,
        folder=folder,
    )


def test_the_budget_is_escalated_until_more_does_not_help():
    found = evaluate()
    first, *later = (each for each in found.cells if each.threat == "adaptive")
    assert later, "two steps of 4/255 in a ball of 24/255 are too few"
    assert first.raised_from is None and first.steps == 2
    before = first
    for after in later:
        assert after.raised_from == before.steps
        assert all(a <= b for a, b in zip(after.outcomes, before.outcomes, strict=True))
        # it attacks the robust images only
        assert after.components[0].attacked == sum(before.outcomes)
        before = after
    assert sum(before.outcomes) < sum(first.outcomes)
    worst = {row.threat: row.score for row in found.worst_case}
    assert worst["adaptive"].correct == sum(before.outcomes)
    assert len([each for each in found.cells if each.threat == "bpda"]) == 1


def test_it_stays_within_what_it_may_cost():
    found = evaluate(max_cost=3)
    costs = [each.steps * each.settings.restarts for each in found.cells]
    assert max(costs) <= 3
    assert found.verdict.level != "reliable", "the budget is still too small, and that is said"


def test_an_escalated_evaluation_is_read_back(tmp_path):
    first = evaluate(16, tmp_path)
    evaluate.cache_clear()
    again = evaluate(16, tmp_path)
    assert len(first.cells) > 2 and plain(again) == plain(first)
    assert [each.seconds for each in again.cells] == [each.seconds for each in first.cells]


def test_findings_of_other_code_are_not_read_back(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(escalation, "ask", lambda name, e: asked.append(name) or ())
    evaluate(16, tmp_path)
    evaluate.cache_clear()
    first = len(asked)
    evaluate(16, tmp_path)
    evaluate.cache_clear()
    assert first and len(asked) == first, "all of them were kept"
    monkeypatch.setattr(escalation, "source_digest", lambda: "other")
    evaluate(16, tmp_path)
    evaluate.cache_clear()
    assert len(asked) == 2 * first


def test_a_rule_registered_since_is_asked_in_a_resumed_evaluation(tmp_path):
    first = evaluate(16, tmp_path)
    evaluate.cache_clear()

    def check_weekday(e):
        yield finding()

    rule(needs="nothing")(check_weekday)
    try:
        again = evaluate(16, tmp_path)
    finally:
        del RULES["check_weekday"]
        evaluate.cache_clear()
    assert again.diagnostics == (*first.diagnostics, finding())


@pytest.mark.parametrize(
    ("threats", "expected"),
    [
        (["adaptive"], "adaptive"),
        (["bpda", "adaptive", "undefended"], "adaptive"),
        (["bpda", "undefended"], "undefended"),
        (["bpda"], "bpda"),
    ],
)
def test_an_escalated_attack_goes_on_from_the_images_that_are_robust(threats, expected):
    settings = AttackSettings(name="pgd", steps=4, step_size=1 / 255)
    columns = {"adaptive": [1, 0, 0], "undefended": [0, 1, 0], "bpda": [0, 0, 1]}
    cells = [cell(threat, columns[threat], eps=EPS[0], settings=settings) for threat in threats]
    other = cell(expected, [1, 1, 1], eps=EPS[0], settings=AttackSettings(steps=5))
    elsewhere = cell(expected, [1, 1, 1], eps=EPS[1], settings=settings)
    before = Job(WEAK, EPS[0])
    job = Job(replace(WEAK, steps=8), EPS[0], raised_from=before)
    clean = {"undefended": [1, 1, 1], "defended": [1, 1, 1]}
    outcomes, chosen = still_robust(job, [other, elsewhere, *cells], clean, threats)
    assert chosen == [expected]
    assert list(outcomes["defended"]) == list(outcomes["undefended"]) == columns[expected]


def test_an_examination_and_its_escalation_are_followed_pass_by_pass(monkeypatch):
    phases = []

    class Followed(Bar):
        def begin(self, title, total, *, unit):
            super().begin(title, total, unit=unit)
            phases.append((title.split()[0], total, []))

        def advance(self, count, note="", *values):
            super().advance(count, note, *values)
            if phases:
                phases[-1][2].append((count, note))

    monkeypatch.setattr("purespike.progress.Bar", Followed)
    evaluate.__wrapped__(max_cost=4)
    # an examination begins anew after a budget was escalated
    assert [name for name, _, _ in phases[:3]] == ["examination", "escalation", "examination"]
    for name, total, told in [*phases[-1:], *(phase for phase in phases if phase[0] == "escalation")]:
        assert sum(count for count, _ in told) == total > 0, name
        # what takes many passes is seen on its way
        seen = Counter(note for count, note in told if count)
        assert max(seen.values()) > (5 if name == "examination" else 3), name


def test_an_attack_is_followed_within_its_chunks(monkeypatch):
    told = []

    class Followed(Bar):
        def advance(self, count, note="", *values):
            super().advance(count, note, *values)
            told.append(count)

    monkeypatch.setattr("purespike.progress.Bar", Followed)
    images, labels = photographs(8, seed=7)
    given = {"attacks": ["pgd:steps=6"], "eps": 1e-4, "surrogates": ["atan"], "losses": ["ce"]}
    found = purespike.evaluate(blurring(), (images, labels), **given, diagnose=0)
    assert found.cells
    assert all(count >= 0 for count in told) and len([count for count in told if count]) > 6
    # one chunk of eight images: clean, then six steps and the last look at them for each reset
    assert sum(told) >= 8 * 7
