"""Models built to fool an evaluator: each must be found out, for the right reason; an honest one not."""

import copy
import functools

import pytest
import torch
from torch import nn

import purespike
from evaluation.victims import CLASSES, defended, photographs, spiking
from purespike.attacks import SignAttack
from purespike.models import Defended
from purespike.neurons import MultiLevelFiring, parse_surrogate
from purespike.results import Finding, Verdict

from .asking import by_name

EPS = 24 / 255
ATTACKS = [{"name": "fgsm"}, {"name": "pgd", "steps": 10, "step_size": 6 / 255}]


@functools.cache
def sample():
    return photographs(24, seed=11)


@functools.cache
def honest():
    """A small network, adversarially trained."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 12, 3, padding=1),
        nn.BatchNorm2d(12),
        nn.ReLU(),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(12 * 36, CLASSES),
    )
    optimiser = torch.optim.Adam(model.parameters(), lr=0.01)
    attack = SignAttack(eps=EPS, steps=3, step_size=12 / 255)
    for step in range(60):
        images, labels = photographs(32, seed=2000 + step)
        images = attack.perturb(model, images, labels)
        loss = nn.functional.cross_entropy(model.train()(images), labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return model.eval()


class Scaled(nn.Module):
    """Logits so large that the cross-entropy has no gradient left."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, images):
        return self.model(images) * 1000


class Rounding(nn.Module):
    """Few grey levels, as a coarse JPEG leaves: no gradient passes."""

    def forward(self, images):
        return (images * 12).round() / 12


class Noisy(nn.Module):
    def forward(self, images):
        return images + 0.1 * torch.randn_like(images)


class Detached(nn.Module):
    def forward(self, images):
        return images.detach() * 0.98


class Forgetful(nn.Module):
    """A stateful network whose reset was forgotten: each call starts where the last one ended."""

    def __init__(self, model):
        super().__init__()
        self.model = model
        self.membrane = 0.0

    def forward(self, images):
        logits = self.model(images)
        self.membrane = 0.5 * self.membrane + logits.detach().mean(0)
        return logits + self.membrane


def narrow():
    """A surrogate so narrow that gradients lie."""
    model = copy.deepcopy(spiking())
    for module in model.modules():
        if isinstance(module, MultiLevelFiring):
            module.surrogate = parse_surrogate("rectangle(width=0.01)")
    return model


def training():
    return copy.deepcopy(honest()).train()


FOOLING = {
    "logits times 1000": (lambda: Scaled(honest()), "saturated cross-entropy"),
    "narrow surrogate": (narrow, "surrogate"),
    "rounding purifier": (lambda: Defended(Rounding(), honest()), "gradients"),
    "random purifier": (lambda: Defended(Noisy(), honest()), "one image, one answer"),
    "detached purifier": (lambda: Defended(Detached(), honest()), "gradients"),
    "stateful": (lambda: Forgetful(honest()), "one image, one answer"),
    "training mode": (training, "evaluation mode"),
}


# ten steps are not enough for an honest network, and the diagnostics say so
PATIENT = [{"name": "fgsm"}, {"name": "pgd", "steps": 60, "step_size": 4 / 255, "restarts": 2}]


def verdict_on(model, attacks=ATTACKS, **settings):
    # the budget is not escalated: the verdict is on the attacks as they are
    given = {"eps": EPS, "threat": "all", "diagnose": 16, "max_cost": 10, **settings}
    return purespike.evaluate(model, sample(), attacks=attacks, **given)


@pytest.mark.parametrize("name", FOOLING)
def test_a_fooling_model_is_found_out(name):
    make, reason = FOOLING[name]
    evaluation = verdict_on(make())
    assert evaluation.verdict.level in ("suspicious", "unreliable")
    assert any(text.startswith(f"{reason}: ") for text in evaluation.verdict.reasons), evaluation.verdict
    findings = by_name(evaluation.diagnostics)
    assert findings[reason].advice and findings[reason].source


@pytest.mark.parametrize("name", ["rounding purifier", "detached purifier", "stateful"])
def test_the_worst_are_unreliable(name):
    assert verdict_on(FOOLING[name][0]()).verdict.level == "unreliable"


def test_an_honest_network_is_believed():
    evaluation = verdict_on(honest(), PATIENT)
    assert evaluation.verdict == Verdict(level="reliable"), evaluation.verdict
    # and it is robust to a degree: there was something to judge
    assert 0.1 < evaluation.accuracy("pgd", "adaptive") < 0.95
    groups = {finding.group for finding in evaluation.diagnostics}
    assert groups == {"invariants", "gradients", "optimisation", "defence"}
    assert str(evaluation.verdict) == "VERDICT: reliable"


def test_an_impatient_attack_on_it_is_not():
    evaluation = verdict_on(honest(), [{"name": "fgsm"}, {"name": "pgd", "steps": 4, "step_size": 6 / 255}])
    assert evaluation.verdict.level == "suspicious"
    assert any(reason.startswith("budget: 16 steps: ") for reason in evaluation.verdict.reasons)
    assert by_name(evaluation.diagnostics)["budget: 16 steps"].remedy == {"steps": 16}


def test_every_diagnostic_of_a_spiking_defence_is_there():
    found = verdict_on(defended(), [{"name": "pgd", "steps": 5, "step_size": 9 / 255}], diagnose=4)
    assert by_name(found.diagnostics).keys() >= {
        *("table", "nothing stands at eps 0.5", "nothing stands at eps 1"),
        *("gradients", "pixels without gradient", "size of gradients", "scale of the logits"),
        *("surrogate", "surrogate ensemble", "direction of the gradient", "neurons"),
        *("silent success", "transfer of bpda", "planted adversarial images", "verdicts of the attack"),
        *("budget: 10 steps", "budget: 4 random starts", "witness without gradients"),
        *("one image, one answer", "bpda against the exact gradient"),
    }


def test_a_stochastic_model_is_examined_as_one():
    names = by_name(verdict_on(Defended(Noisy(), honest()), diagnose=8).diagnostics)
    assert {"expectation over randomness", "score over passes"} <= names.keys()
    assert "verdicts of the attack" not in names, "verdicts change from pass to pass"


def test_findings_of_older_files_are_read():
    old = {"name": "a", "group": "defence", "level": "suspicious", "seen": "b", "advice": "c", "source": "d"}
    found = Finding.from_json(old)
    assert found.message == "b" and found.remedy is None and found.to_json() == old
    new = Finding.from_json({**old, "remedy": {"steps": 40}})
    assert Finding.from_json(new.to_json()) == new and new.remedy == {"steps": 40}
    fine = Finding.from_json({**old, "level": "reliable", "remedy": {"steps": 40}})
    assert fine.remedy is None and fine.advice == ""


def test_without_an_examination_there_is_no_verdict():
    evaluation = purespike.evaluate(honest(), sample(), attacks=["fgsm"], eps=EPS, diagnose=0)
    assert evaluation.verdict is None and evaluation.diagnostics is None


def test_where_nothing_is_right_the_table_alone_is_judged():
    images, _ = sample()
    wrong = (honest()(images).argmax(1) + 1) % CLASSES
    found = purespike.evaluate(honest(), (images, wrong), attacks=["fgsm"], eps=EPS)
    assert [finding.name for finding in found.diagnostics] == ["something to attack", "table"]
    assert found.verdict.level == "unreliable"


def test_findings_are_read_back(tmp_path, monkeypatch):
    first = verdict_on(honest(), folder=tmp_path)

    def refuse(*_):
        raise AssertionError("examined again")

    monkeypatch.setattr("purespike.evaluation.escalation.ask", refuse)
    again = verdict_on(honest(), folder=tmp_path)
    assert again.diagnostics == first.diagnostics and again.verdict == first.verdict
    with pytest.raises(AssertionError, match="examined again"):
        verdict_on(Scaled(honest()), folder=tmp_path)


def test_the_verdict_is_the_worst_with_the_gravest_first():
    def finding(name, level):
        return Finding(name=name, group="gradients", level=level, message="m", advice="", source="")

    a, b, c = finding("a", "reliable"), finding("b", "suspicious"), finding("c", "unreliable")
    assert Verdict.of([]) == Verdict.of([a]) == Verdict(level="reliable")
    assert Verdict.of([a, b]) == Verdict(level="suspicious", reasons=("b: m",))
    assert Verdict.of([b, a, c]) == Verdict(level="unreliable", reasons=("c: m", "b: m"))
    assert str(Verdict.of([b, c])) == "VERDICT: unreliable (c: m; b: m)"
