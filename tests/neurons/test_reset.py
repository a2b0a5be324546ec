"""The reset, attached or detached, against float64 loops and in both tiers; its place in recipes."""

import pytest
import torch
from torch import nn

from purespike.errors import InputError
from purespike.models import Purifier, create, load, save
from purespike.neurons import (
    LIF,
    RESETS,
    MultiLevelFiring,
    SpikingNeuron,
    fire_dynamics,
    multi_level_firing,
    other_resets,
    parse_dynamics,
    parse_surrogate,
    spiking_neurons,
    surrogate_gradient,
)
from purespike.recipe import parse_recipe

from .reference import SLOPES, Spike, loop_gradient
from .tiers import everything_compiled, needs_compiler, no_fallback

DECAY = 0.5


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def agrees(thresholds, surrogate, reset, dtype=torch.float64):
    current, weights = drawn(4, 3, 5) + 0.5, drawn(4, 3, 5, seed=1)
    detached = reset == "detached"
    slope = SLOPES[surrogate]
    counts, expected = loop_gradient(current, weights, thresholds, DECAY, slope, detach_reset=detached)
    leaf = current.to(dtype).requires_grad_()
    settings = {"thresholds": thresholds, "decay": DECAY, "surrogate": parse_surrogate(surrogate)}
    spikes = multi_level_firing(leaf, **settings, reset=reset)
    (gradient,) = torch.autograd.grad((spikes * weights.to(dtype)).sum(), leaf)
    torch.testing.assert_close(spikes.double(), counts)
    torch.testing.assert_close(
        gradient.double(), expected, atol=1e-5 if dtype == torch.float32 else 1e-12, rtol=1e-5
    )
    return expected


@pytest.mark.parametrize("reset", RESETS)
@pytest.mark.parametrize(
    "surrogate", ["rectangle(width=1)", "triangle(width=1)", "atan(alpha=2)", "straightthrough"]
)
@pytest.mark.parametrize("thresholds", [(0.6,), (0.6, 1.6, 2.6)])
def test_agrees_with_a_loop(thresholds, surrogate, reset):
    agrees(thresholds, surrogate, reset)


def test_the_reset_decides_the_gradient():
    attached, detached = (agrees((0.6,), "atan(alpha=2)", reset) for reset in RESETS)
    assert (attached - detached).abs().max() > 0.01


@needs_compiler
@pytest.mark.parametrize("reset", RESETS)
def test_agrees_with_a_loop_compiled(monkeypatch, reset):
    everything_compiled(monkeypatch)
    with no_fallback():
        agrees((0.6, 1.6), "triangle(width=1)", reset, torch.float32)


@pytest.mark.parametrize("reset", RESETS)
@pytest.mark.parametrize("training", [False, True])
def test_behind_a_norm_it_is_the_same(reset, training):
    torch.manual_seed(0)
    norm = nn.BatchNorm2d(3).double().train(training)
    neurons = MultiLevelFiring((0.6, 1.6), DECAY, "atan", time_steps=4, reset=reset)
    current = drawn(8, 3, 2, 2)
    found = []
    for run in (lambda x: neurons(x, norm), lambda x: neurons(norm(x))):
        leaf = current.clone().requires_grad_()
        found.append(torch.autograd.grad((run(leaf) * drawn(8, 3, 2, 2, seed=1)).sum(), leaf)[0])
    torch.testing.assert_close(*found)
    assert found[0].abs().max() > 0


def adaptive_loop(current, slope, *, detached):
    """AdaptiveLIF(threshold=0.6, decay=0.25, rise=1.08, recovery=0.9), written plainly."""
    kept, adaptation, spikes = torch.zeros_like(current[0]), torch.zeros_like(current[0]), []
    for x in current:
        membrane = 0.25 * kept + x
        fired = Spike.apply(membrane - 0.6 - 1.08 * adaptation, slope)
        seen = fired.detach() if detached else fired
        kept = membrane * (1 - seen)
        adaptation = 0.9 * adaptation + 0.1 * seen
        spikes.append(fired)
    return torch.stack(spikes)


def generic(reset, dtype=torch.float64):
    current, weights = drawn(5, 4, 6) + 0.5, drawn(5, 4, 6, seed=1)
    leaf = current.clone().requires_grad_()
    spikes = adaptive_loop(leaf, SLOPES["atan(alpha=2)"], detached=reset == "detached")
    (expected,) = torch.autograd.grad((spikes * weights).sum(), leaf)
    mine = current.to(dtype).requires_grad_()
    found, _ = fire_dynamics(mine, parse_dynamics("adaptivelif"), parse_surrogate("atan"), reset=reset)
    (gradient,) = torch.autograd.grad((found * weights.to(dtype)).sum(), mine)
    torch.testing.assert_close(found.double(), spikes.detach())
    torch.testing.assert_close(
        gradient.double(), expected, atol=1e-5 if dtype == torch.float32 else 1e-12, rtol=1e-5
    )
    return expected


@pytest.mark.parametrize("reset", RESETS)
def test_other_dynamics_agree_with_a_loop(reset):
    generic(reset)


@needs_compiler
def test_other_dynamics_agree_with_a_loop_compiled(monkeypatch):
    everything_compiled(monkeypatch)
    with no_fallback():
        attached, detached = (generic(reset, torch.float32) for reset in RESETS)
    assert (attached - detached).abs().max() > 0.01


def test_several_thresholds_as_dynamics_are_the_layer():
    current, weights = drawn(4, 3, 5) + 0.5, drawn(4, 3, 5, seed=1)
    _, expected = loop_gradient(
        current, weights, (0.6, 1.6), DECAY, SLOPES["atan(alpha=2)"], detach_reset=True
    )
    neurons = SpikingNeuron("mlf(thresholds=[0.6, 1.6], decay=0.5)", "atan", reset="detached")
    leaf = current.clone().requires_grad_()
    torch.testing.assert_close(torch.autograd.grad((neurons(leaf) * weights).sum(), leaf)[0], expected)


def test_the_attacker_chooses_it_and_it_comes_back():
    model = create("resnet14_snn", width=1 / 16, time_steps=2)
    assert other_resets(model) == ("detached",)
    with pytest.raises(RuntimeError), surrogate_gradient(model, reset="detached"):
        assert {neuron.reset for neuron in spiking_neurons(model)} == {"detached"}
        assert other_resets(model) == ("attached",)
        raise RuntimeError
    assert {neuron.reset for neuron in spiking_neurons(model)} == {"attached"}
    spiking_neurons(model)[0].reset = "detached"
    assert other_resets(model) == RESETS


def test_without_time_there_is_no_reset():
    assert other_resets(nn.Sequential(LIF(time_steps=1))) == ()


@pytest.mark.parametrize(
    "make", [lambda: LIF(reset="soft"), lambda: create("resnet14_snn", width=1 / 16, reset="x")]
)
def test_another_reset_is_refused(make):
    with pytest.raises(InputError, match="unknown reset"):
        make()


def test_recipes_and_checkpoints_keep_it(tmp_path):
    recipe = parse_recipe({"classifier": {"reset": "detached"}, "purifier": {"reset": "detached"}})
    assert recipe.classifier.neurons()["reset"] == recipe.purifier.neurons()["reset"] == "detached"
    assert "reset" not in parse_recipe({}).classifier.neurons()
    for model in (
        create("resnet14_snn", width=1 / 16, reset="detached"),
        Purifier(width=1 / 16, calibrated=False, reset="detached"),
    ):
        save(model, tmp_path / "model.safetensors")
        neurons = spiking_neurons(load(tmp_path / "model.safetensors"))
        assert {neuron.reset for neuron in neurons} == {"detached"}
