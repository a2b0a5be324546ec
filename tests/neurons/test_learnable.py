"""Learned thresholds and leaks: rates, scaling and what is the same as other neurons; the ReLU twin."""

import math

import pytest
import torch
from torch import nn

from purespike import InputError
from purespike.models import create, list_models, load, save
from purespike.neurons import LIF, SpikingNeuron, accepted, other_resets, parse_dynamics, surrogate_gradient

from .reference import drawn


def neuron(written, **learned):
    layer = SpikingNeuron(f"learnablelif({written})").double()
    for name, value in learned.items():
        nn.init.constant_(layer.learned[name], value)
    return layer


@pytest.mark.parametrize("x", [3 / 8, 0.25, 7 / 16, 1.0, 1.5])
@pytest.mark.parametrize("threshold", [1.0, 0.5])
def test_the_rate_of_a_soft_reset_is_a_clipped_relu(x, threshold):
    """Without a leak, to the last whole spike; with a hard reset it is one over a whole number of steps."""
    steps = 64
    current = torch.full((steps, 1), x, dtype=torch.float64)
    soft = neuron(f"threshold={threshold}, soft=true")(current).sum().item()
    assert soft == math.floor(steps * min(x / threshold, 1.0))
    hard = neuron(f"threshold={threshold}")(current).sum().item()
    assert hard == steps // max(1, math.ceil(threshold / x))


def test_a_leak_keeps_weak_currents_below_the_threshold():
    """x / (1 - d) is the highest membrane."""
    current = torch.tensor([0.74, 0.76], dtype=torch.float64).expand(64, 2)
    assert neuron("decay=0.25")(current).sum(0).gt(0).tolist() == [False, True]


@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("learned", [0.5, 3.0])
def test_a_learned_threshold_is_a_scaled_current(soft, learned):
    """θ-fold: spikes(x, θ) = spikes(x V/θ, V), and the surrogate shrinks with it."""
    current, weights = drawn(5, 2, 3, 4, 4)
    found = {}
    for name, layer, scale in (
        ("learned", neuron(f"soft={soft}, decay=0.5", threshold=learned), 1.0),
        ("fixed", neuron(f"soft={soft}, decay=0.5"), 1 / learned),
    ):
        leaf = current.clone().requires_grad_()
        spikes = layer(leaf * scale)
        found[name] = spikes, *torch.autograd.grad((spikes * weights).sum(), leaf)
    assert 0 < found["learned"][0].sum() < current.numel()
    torch.testing.assert_close(found["learned"], found["fixed"])


def test_untrained_it_is_lif():
    current, _ = drawn(5, 2, 3)
    other = neuron("threshold=0.6, decay=0.25, learn_threshold=false, learn_decay=false")
    assert torch.equal(other(current), LIF(0.6, 0.25).double()(current)) and not list(other.parameters())


def test_surrogates_over_all_steps_see_the_scaled_current():
    """As for neurons with a fixed threshold and the current times V/θ."""
    current, weights = drawn(5, 2, 3)
    gradients = []
    for layer, scale in ((neuron("decay=0.5", threshold=2.0), 1.0), (neuron("decay=0.5"), 0.5)):
        leaf = current.clone().requires_grad_()
        with surrogate_gradient(layer, "ratebased"):
            gradients += torch.autograd.grad((layer(leaf * scale) * weights).sum(), leaf)
    assert gradients[0].abs().sum() > 0
    torch.testing.assert_close(*gradients)


def test_each_surrogate_has_its_gradient_and_every_layer_learns():
    model = create("resnet14_snn", width=0.05, time_steps=2, dynamics="learnablelif(decay=0.9, soft=true)")
    images = torch.rand((3, 3, 16, 16), generator=torch.Generator().manual_seed(0)).requires_grad_()
    logits, gradients = [], []
    for surrogate in ("triangle(width=1)", "atan(alpha=2)"):
        with surrogate_gradient(model, surrogate):
            logits.append(model.eval()(images))
            gradients += torch.autograd.grad(logits[-1].square().sum(), images)
    assert torch.equal(*logits) and not torch.equal(*gradients)
    assert all(gradient.isfinite().all() and gradient.abs().sum() > 0 for gradient in gradients)
    model.train()(images).square().sum().backward()
    learned = {name: p.grad for name, p in model.named_parameters() if ".learned." in name}
    assert len(learned) == 2 * 15 and all(g.isfinite() and g != 0 for g in learned.values())


@pytest.mark.parametrize("dynamics", ["learnablelif(soft=true)", "relu"])
def test_a_checkpoint_holds_what_was_learned(dynamics, tmp_path):
    model = create("resnet14_snn", width=0.05, time_steps=2, dynamics=dynamics)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(0.9)
    save(model, tmp_path / "model.safetensors")
    images = torch.rand((2, 3, 16, 16), generator=torch.Generator().manual_seed(0))
    assert torch.equal(load(tmp_path / "model.safetensors")(images), model.eval()(images))


@pytest.mark.parametrize("written", ["threshold=0", "decay=1.5", "threshold=inf", "soft=2", "softly=true"])
def test_bad_settings_are_one_line(written):
    with pytest.raises(InputError) as error:
        parse_dynamics(f"learnablelif({written})")
    assert "learnablelif" in str(error.value) and "\n" not in str(error.value)


# ---- the twin


@pytest.mark.parametrize("reset", ["attached", "detached"])
def test_relu_is_pytorchs(reset):
    current, weights = drawn(1, 2, 3, 4, 4)
    found = []
    for layer in (SpikingNeuron("relu", reset=reset), nn.ReLU()):
        leaf = current.clone().requires_grad_()
        outputs = layer(leaf)
        found.append((outputs, *torch.autograd.grad((outputs * weights).sum(), leaf)))
    torch.testing.assert_close(*found, rtol=0, atol=0)


def test_an_attacker_of_exact_derivatives_has_nothing_to_choose():
    surrogates = ("rectangle(width=1)", "atan(alpha=2)")
    exact, spiking = nn.Sequential(SpikingNeuron("relu")), nn.Sequential(SpikingNeuron("learnablelif"))
    assert accepted(exact, surrogates) == surrogates[:1] and other_resets(exact) == ()
    both = nn.Sequential(*exact, *spiking)
    for model in (spiking, both):
        assert accepted(model, surrogates) == surrogates and other_resets(model) == ("detached",)


@pytest.mark.parametrize("name", list_models())
def test_every_network_has_a_twin_with_the_same_weights(name):
    spiking = create(name, width=0.05, time_steps=2)
    twin = create(name, width=0.05, time_steps=1, dynamics="relu")
    twin.load_state_dict(spiking.state_dict())
    images = torch.rand((2, 3, 16, 16), generator=torch.Generator().manual_seed(0))
    twin.train()(images).square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in twin.parameters())
