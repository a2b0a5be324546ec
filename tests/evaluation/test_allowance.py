"""An examination takes no more passes than the attacks it examines, unless more is asked for."""

import functools
from dataclasses import replace

import pytest
import torch
from hypothesis import given as drawn
from hypothesis import strategies as st
from torch import nn

import purespike
from evaluation.diagnostics.asking import cell
from evaluation.victims import foreign, photographs, plain
from purespike.attacks import SignAttack
from purespike.evaluation.allowance import FEWEST, FIRST, LEAST, MOST, passes_taken, planned
from purespike.evaluation.diagnostics import RULES, Examination
from purespike.evaluation.diagnostics.rule import Rule, ask, in_order, passes_of_rule
from purespike.evaluation.threat import classifier_of
from purespike.models import Defended
from purespike.neurons import MultiLevelFiring


class Passed:
    """Images that pass a classifier forwards, and twice those that are differentiated."""

    def __init__(self, model):
        self.count = 0
        classifier_of(model).register_forward_hook(self.note)

    def note(self, module, inputs, output):
        count = len(inputs[0])
        self.count += count
        if output.requires_grad:
            output.register_hook(lambda gradient: self.differentiated(2 * count))

    def differentiated(self, passes):
        self.count += passes


def test_passes_through_the_classifier_alone_do_not_count_beside_a_purifier():
    cells = [
        cell("adaptive", forwards=10, backwards=4),
        cell("undefended", forwards=100, backwards=100),
        cell("oblivious", forwards=7),
        cell("bpda"),
    ]
    assert passes_taken(cells, defended=True) == 18
    assert passes_taken(cells, defended=False) == 325


@pytest.fixture
def rules():
    """Rules of a test alone."""
    kept = dict(RULES)
    RULES.clear()
    yield RULES
    RULES.clear()
    RULES.update(kept)


IMAGES, LABELS = photographs(40, seed=1)


@functools.cache
def examination(count):
    return Examination(nn.Identity(), IMAGES[:count], LABELS[:count])


COSTS = st.lists(st.integers(0, 50), min_size=3, max_size=6)


@drawn(COSTS, st.integers(0, 3000))
def test_a_plan_keeps_to_its_allowance(costs, allowance):
    kept = dict(RULES)
    RULES.clear()
    names = [*FIRST, "check_a", "check_b", "check_c", "check_d"][: len(costs)]
    for name, cost in zip(names, costs, strict=True):
        RULES[name] = Rule(lambda e: iter(()), "images", 0, lambda e, cost=cost: cost * len(e))
    try:
        plan = planned(examination, allowance)
    finally:
        RULES.clear()
        RULES.update(kept)
    count = len(plan.examination)
    assert {**plan.asked, **plan.left_out} == {n: c * count for n, c in zip(names, costs, strict=True)}
    left = allowance - sum(plan.asked.values())
    assert left >= 0 and FEWEST <= count <= MOST
    if not plan.left_out:
        assert count == MOST or sum(costs) * (count + 1) > allowance
        return
    assert count == FEWEST and all(cost > left for cost in plan.left_out.values())
    finding = plan.finding()
    assert finding.level == "suspicious" and f"{allowance:,}" in finding.message
    assert all(name.removeprefix("check_").replace("_", " ") in finding.message for name in plan.left_out)


def test_the_rules_that_matter_most_come_first(rules):
    for name, cost in (("check_cheap", 10), (FIRST[0], 90), ("check_free", 0)):
        rules[name] = Rule(lambda e: iter(()), "nothing", 0, lambda e, cost=cost: cost)
    plan = planned(examination, 95)
    assert list(plan.asked) == [FIRST[0], "check_free"] and list(plan.left_out) == ["check_cheap"]


class Noisy(nn.Module):
    def forward(self, images):
        return images + 0.05 * torch.randn_like(images)


class Spiking(nn.Module):
    """One layer of neurons in two time steps."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(3 * 144, 16), nn.Linear(16, 4)
        self.neurons = MultiLevelFiring((1.0,))

    def forward(self, images):
        current = 4 * self.first(images.flatten(1))
        return self.last(self.neurons(torch.stack([current, current])).mean(0))


ATTACK = SignAttack(eps=0.01, steps=2)
MODELS = {
    "foreign": lambda: nn.Sequential(foreign()),
    "spiking": Spiking,
    "defended": lambda: Defended(nn.AvgPool2d(3, 1, 1), Spiking()),
    "stochastic": lambda: Defended(Noisy(), nn.Sequential(foreign())),
}
OTHERS = [{"restarts": 2, "random_start": True}, {"precision": "bf16"}]


@pytest.mark.parametrize(
    ("name", "settings"), [*((name, {}) for name in MODELS), *(("foreign", each) for each in OTHERS)]
)
def test_no_rule_takes_more_than_it_states(name, settings):
    torch.manual_seed(0)
    model = MODELS[name]().eval()
    stochastic = name == "stochastic"
    attack = replace(ATTACK, eot=5 if stochastic else 1, **settings)
    images = photographs(5, seed=3)[0]
    labels = model(images).argmax(1)
    known = {"attack": attack, "clean": {"defended": [1], "undefended": [1]}, "stochastic": stochastic}
    cells = [cell(threat, forwards=30, backwards=20) for threat in ("adaptive", "bpda")]
    passed, stated = Passed(model), {}
    for rule in in_order():
        e = Examination(model, images, labels, cells=cells, **known)
        assert e.attackable and e.nature
        before = passed.count
        stated[rule] = passes_of_rule(rule, e)
        assert not [each.message for each in ask(rule, e) if "could not" in each.message]
        assert passed.count - before <= stated[rule], rule
    # where they apply
    assert (stated["check_passes"] > 0) == (stated["check_expectation"] > 0) == stochastic
    spikes = name in ("spiking", "defended")
    assert (stated["check_surrogates"] > 0) == (stated["check_resets"] > 0) == spikes
    assert (stated["check_bpda_transfer"] > 0) == isinstance(model, Defended)


@pytest.mark.parametrize(("steps", "diagnose"), [(10, None), (1, None), (1, 12)])
def test_an_evaluation_takes_at_most_twice_the_passes_of_its_attacks(steps, diagnose, capsys):
    torch.manual_seed(0)
    model = nn.Sequential(foreign()).eval()
    passed = Passed(model)
    data = photographs(200, seed=7)
    settings = {"eps": 4 / 255, "threat": "adaptive", "max_cost": 20}
    attacks = [{"name": "pgd", "steps": steps, "stop_early": False, "restarts": 2, "random_start": True}]
    purespike.evaluate(model, data, attacks=attacks, diagnose=0, **settings)
    alone, passed.count = passed.count, 0
    found = purespike.evaluate(model, data, attacks=attacks, diagnose=diagnose, **settings)
    assert len(found.cells) == 1
    said = capsys.readouterr().err
    images = int(said.rpartition("examination of ")[2].split()[0])
    if diagnose is not None:
        assert images == 12 and "costs no more" not in said
        return
    assert FEWEST <= images < MOST
    assert 0 < passed.count - alone <= max(alone, LEAST)
    # the least that an examination may cost can be more than the attacks did
    cheap = ", which costs no more than the attacks" if steps == 10 else ""
    assert f"{images} images are examined{cheap}; --diagnose" in said


def quick(**settings):
    given = {"attacks": ["pgd:steps=3"], "eps": 8 / 255, "threat": "adaptive", **settings}
    return purespike.evaluate(foreign(), photographs(24, seed=7), **given)


def test_what_max_cost_leaves_no_passes_for_is_named():
    model = nn.Sequential(foreign()).eval()
    passed = Passed(model)
    data = photographs(24, seed=7)
    settings = {"attacks": ["pgd:steps=3"], "eps": 8 / 255, "max_cost": 4}
    purespike.evaluate(model, data, diagnose=0, **settings)
    alone, passed.count = passed.count, 0
    found = purespike.evaluate(model, data, **settings)
    # of cross-entropy and margin, each a pass forwards and two back
    assert passed.count - alone <= 4 * 24 * 2 * 3
    (left_out,) = (each for each in found.diagnostics if each.name == "not examined")
    assert "planted" in left_out.message and found.verdict.level != "reliable"
    assert "not examined" not in {each.name for each in quick(diagnose=4, max_cost=4).diagnostics}


def test_an_examination_that_resumes_is_the_same(tmp_path):
    first = quick(folder=tmp_path)
    kept = sorted(path for path in tmp_path.rglob("*.json"))
    for path in kept[::2]:
        path.unlink()
    assert len(kept) > 10 and plain(quick(folder=tmp_path)) == plain(first)
