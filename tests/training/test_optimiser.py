"""Optimisers in groups, and the learning rate of every batch."""

import math
from itertools import pairwise

import pytest
import torch
from torch import nn

from purespike import InputError
from purespike.models import create
from purespike.optimisation import Adam, AdamW, Constant, Cosine, Milestones, OneCycle, ParameterGroup, Sgd
from purespike.training.optimiser import create_optimiser, learning_rates, set_learning_rate


def rates_of(schedule, *, epochs=6, steps=4, rate=0.08):
    found = learning_rates(schedule, rate, epochs=epochs, steps=steps)
    assert len(found) == epochs * steps
    return found


def test_a_constant_rate_and_steps_at_milestones():
    assert rates_of(Constant()) == [0.08] * 24
    found = rates_of(Milestones(milestones=(1, 4), decay_factor=0.1))
    # bit for bit: factor to the power of the milestones passed, in one product
    assert found == [0.08 * 0.1**passed for passed in (0, 1, 1, 1, 2, 2) for _ in range(4)]


@pytest.mark.parametrize("final", [0.0, 0.1])
def test_a_cosine_is_its_formula(final):
    found = rates_of(Cosine(final=final))
    low = final * 0.08
    for epoch in range(6):
        expected = low + (0.08 - low) * (1 + math.cos(math.pi * epoch / 6)) / 2
        assert found[4 * epoch : 4 * epoch + 4] == pytest.approx([expected] * 4, rel=1e-12)


def test_one_cycle_rises_and_falls_over_the_batches():
    found = rates_of(OneCycle(warm_up=0.25, initial=0.1, final=0.001))
    top = found.index(max(found))
    assert found[0] == pytest.approx(0.008) and found[-1] == pytest.approx(0.00008)
    assert found[top] == pytest.approx(0.08) and top == 0.25 * 24 - 1
    assert all(a < b for a, b in pairwise(found[: top + 1])) and all(a > b for a, b in pairwise(found[top:]))


def test_default_optimisers_are_those_of_pytorch():
    model = create("resnet14_snn", width=0.05, time_steps=2)
    for settings, expected in (
        (Sgd(), torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4)),
        (Adam(), torch.optim.Adam(model.parameters(), lr=0.1, foreach=True)),
        (AdamW(), torch.optim.AdamW(model.parameters(), lr=0.1, foreach=True)),
    ):
        found = create_optimiser(settings, model, 0.1)
        assert type(found) is type(expected)
        (group,), (other,) = found.param_groups, expected.param_groups
        assert group.pop("rate") == 1
        members, others = group.pop("params"), other.pop("params")
        assert all(a is b for a, b in zip(members, others, strict=True)), (
            "also their order, which states keep"
        )
        assert group == other


@pytest.mark.parametrize("settings", [Adam(), AdamW(weight_decay=0.1)])
def test_steps_of_all_parameters_at_once_are_those_of_pytorch(settings):
    found, expected = (nn.Linear(7, 5, dtype=torch.float64) for _ in range(2))
    expected.load_state_dict(found.state_dict())
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[settings.name]
    loop = kind(expected.parameters(), lr=0.01, weight_decay=settings.weight_decay, foreach=False)
    for model, optimiser in ((found, create_optimiser(settings, found, 0.01)), (expected, loop)):
        images = torch.linspace(-1, 1, 21, dtype=torch.float64).view(3, 7)
        for _ in range(5):
            optimiser.zero_grad()
            model(images).square().sum().backward()
            optimiser.step()
    for one, other in zip(found.parameters(), expected.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=0)


def test_groups_are_found_by_name_and_by_layer():
    model = create("resnet14_snn", width=0.05, time_steps=2)
    groups = (
        ParameterGroup(pattern="^BatchNorm", weight_decay=0),
        ParameterGroup(pattern="readout", rate=0.5),
    )
    optimiser = create_optimiser(Sgd(weight_decay=0.3, groups=groups), model, 0.1)
    set_learning_rate(optimiser, 0.2)
    rest, norms, readout = optimiser.param_groups
    assert (rest["lr"], norms["lr"], readout["lr"]) == (0.2, 0.2, 0.1)
    assert (rest["weight_decay"], norms["weight_decay"], readout["weight_decay"]) == (0.3, 0, 0.3)
    expected = {
        parameter
        for module in model.modules()
        if isinstance(module, nn.BatchNorm2d)
        for parameter in module.parameters()
    }
    assert set(norms["params"]) == expected and set(readout["params"]) == set(model.readout.parameters())
    assert sum(len(group["params"]) for group in optimiser.param_groups) == len(list(model.parameters()))


def test_a_pattern_that_matches_nothing_is_refused():
    settings = Sgd(groups=(ParameterGroup(pattern="threshold"),))
    with pytest.raises(InputError, match=r"optimiser\.groups: no parameter matches the pattern 'threshold'"):
        create_optimiser(settings, nn.Linear(2, 2), 0.1)
