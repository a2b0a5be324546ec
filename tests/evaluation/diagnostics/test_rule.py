"""The registry of rules: their order, their needs, their own random streams, and rules that fail."""

import pytest
import torch
from torch import nn

from evaluation.victims import foreign, photographs
from purespike.attacks import SignAttack
from purespike.errors import InputError
from purespike.evaluation.diagnostics import RULES, Examination, examine, rule
from purespike.models import Defended
from purespike.results import Finding

from .asking import cell

ATTACK = SignAttack(eps=0.05, steps=2, step_size=0.02)
ORDER = [
    *("evidence", "answers", "mode", "invariants", "bpda_beyond", "function", "outputs", "gradients"),
    *("neurons", "unknown_neurons", "norms", "direction", "scale", "surrogates", "resets", "large_budgets"),
    *("verdicts", "passes", "expectation", "budget", "silent", "loss", "stability", "planted"),
    *("bpda_transfer", "gradient_free"),
]


@pytest.fixture(autouse=True)
def registered():
    """Rules registered by a test are gone after it."""
    kept = dict(RULES)
    yield
    RULES.clear()
    RULES.update(kept)


@pytest.fixture(scope="module")
def given():
    images, labels = photographs(8, seed=21)
    right = foreign()(images).argmax(1) == labels
    return images[right][:5], labels[right][:5]


class Noisy(nn.Module):
    def forward(self, images):
        return images + 0.05 * torch.randn_like(images)


class Detached(nn.Module):
    def forward(self, images):
        return images.detach()


def defended(purifier):
    return Defended(purifier, foreign()).eval()


def finding(message="m", level="reliable"):
    words = {"name": "mine", "group": "defence", "advice": "", "source": ""}
    return Finding(level=level, message=message, **words)


def test_the_order_of_the_rules():
    names = sorted(RULES, key=lambda name: RULES[name].order)
    assert [name.removeprefix("check_") for name in names] == ORDER


def test_findings_come_in_the_order_of_the_rules(given):
    @rule(needs="nothing", order=45)
    def check_between(e):
        yield finding()

    @rule(needs="nothing")
    def check_last(e):
        yield finding("last")

    names = [each.name for each in examine(Examination(foreign(), *given))]
    assert names == ["table", "one image, one answer", "mine", "gradients", "pixels without gradient", "mine"]


def test_a_name_is_registered_once():
    def check_planted(e):
        yield finding()

    planted = RULES["check_planted"]
    with pytest.raises(InputError, match="'check_planted' is registered twice"):
        rule()(check_planted)
    assert RULES["check_planted"] is planted


def test_needs_are_known_ones():
    with pytest.raises(InputError, match="needs of a diagnostics rule 'image': did you mean 'images'"):
        rule(needs="image")


@pytest.mark.parametrize(
    ("model", "count", "known", "asked"),
    [
        (foreign, 0, {"attack": ATTACK}, {"nothing"}),
        (foreign, 3, {}, {"nothing", "images"}),
        (lambda: defended(Detached()), 3, {"attack": ATTACK}, {"nothing", "images"}),
        (foreign, 3, {"attack": ATTACK}, {"nothing", "images", "attack"}),
    ],
    ids=["no images", "no gradient attack", "detached", "all"],
)
def test_a_rule_is_asked_where_its_needs_are_met(given, model, count, known, asked):
    RULES.clear()
    seen = set()
    for needs in ("nothing", "images", "attack"):

        def check(e, needs=needs):
            yield from ()
            seen.add(needs)

        check.__name__ = needs
        rule(needs=needs)(check)
    images, labels = given
    assert examine(Examination(model(), images[:count], labels[:count], **known)) == []
    assert seen == asked


def test_a_detached_model_is_said_to_be_one(given):
    found = examine(Examination(defended(Detached()), *given, attack=ATTACK))
    assert [each.name for each in found] == ["table", "one image, one answer", "gradients"]
    assert found[-1].level == "unreliable" and "no path" in found[-1].message


def test_a_rule_that_fails_is_a_finding_and_costs_no_other(given):
    e = Examination(foreign(), *given)
    before = examine(e)

    @rule(needs="nothing", order=5)
    def check_the_weather(e):
        yield finding("lost with the rule")
        raise KeyError("no\nrain")

    failed, *others = examine(e)
    assert others == before
    assert (failed.name, failed.level) == ("the weather", "suspicious")
    assert failed.message == r"could not be examined: KeyError: 'no\nrain'" and failed.advice


def test_out_of_memory_is_no_finding(given):
    @rule(needs="nothing")
    def check_memory(e):
        yield from ()
        raise torch.OutOfMemoryError

    with pytest.raises(torch.OutOfMemoryError):
        examine(Examination(foreign(), *given))


def test_a_further_rule_changes_no_finding_on_a_stochastic_model(given):
    cells = [cell("adaptive", passes=10), cell("bpda", passes=10)]
    known = {"attack": ATTACK, "cells": cells, "clean": {"defended": [1]}}
    torch.manual_seed(1)
    before = examine(Examination(defended(Noisy()), *given, **known))
    assert "score over passes" in {each.name for each in before}

    @rule(order=0)
    def check_first(e):
        """Draws, and is the first to ask for what the others share."""
        torch.rand(7)
        yield finding(f"{e.slow}{e.as_run.images.sum()}{e.result.images.sum()}"[:9])

    torch.manual_seed(2)
    first, *others = examine(Examination(defended(Noisy()), *given, **known))
    assert first.name == "mine" and others == before
