"""Stochastic gates after neurons: what they let pass, their gradients, and their place in a network."""

import pytest
import torch

from purespike.errors import InputError
from purespike.evaluation.inputs import nature
from purespike.models import create, load, save
from purespike.neurons import Gates, spiking_neurons, surrogate_gradient

EACH = pytest.mark.parametrize("per", ["channel", "neuron"])


def gates(per, probability=0.5, shape=(3, 4, 5)):
    made = Gates(per, shape[0])
    made.size(shape)
    torch.nn.init.constant_(made.probability, probability)
    return made


def network(**settings):
    torch.manual_seed(0)
    return create("resnet14_snn", **{"width": 1 / 16, "time_steps": 3, **settings})


@pytest.mark.parametrize("neurons", [{}, {"dynamics": "adaptivelif"}, {"dynamics": "talif"}], ids=str)
@EACH
def test_open_gates_change_nothing(per, neurons):
    """Bit for bit, in training and evaluation, with either memory format; and the gradients neither."""
    images, found = torch.rand(2, 3, 8, 8), []
    for settings in ({}, {"gates": per}):
        model = network(**neurons, **settings, image_size=(8, 8))
        leaf = images.clone().requires_grad_()
        trained = model(leaf)
        (gradient,) = torch.autograd.grad(trained[:, 0].sum(), leaf)
        found.append((trained, gradient, model.eval()(images)))
        assert nature(model, images, 0.0).kind == "deterministic"
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))


@EACH
@pytest.mark.parametrize("q", [0.7, 0.02, 3.0])
def test_they_let_a_share_pass(per, q):
    torch.manual_seed(0)
    p = min(max(q, 0.1), 1)
    made, spikes = gates(per, q), torch.full((20_000, 3, 4, 5), 2.0)
    passed = made(spikes)
    # of 20,000 draws of every neuron
    assert set(passed.unique().tolist()) <= {0.0, 2.0}
    bound = 5 * (p * (1 - p) / 20_000) ** 0.5
    assert ((passed.mean(0) / 2 - p).abs() <= bound + 1e-6).all()
    assert passed.div(2).var(0).mean().item() == pytest.approx(p * (1 - p), abs=0.01)


@EACH
def test_gradients_are_those_of_the_expectation(per):
    """p times that of an open gate for the spikes, on average; and the spikes for p, within its bounds."""
    torch.manual_seed(0)
    made, spikes = gates(per, 0.6), torch.randint(0, 4, (2_000, 3, 4, 5)).float().requires_grad_()
    weights = torch.randn(3, 4, 5)
    passed = made(spikes)
    through, of_q = torch.autograd.grad((passed * weights).sum(), [spikes, made.probability])
    # the gates that were drawn, and no others
    assert torch.equal(through != 0, (passed != 0) | ((through != 0) & (spikes == 0)))
    torch.testing.assert_close(through.mean(0), 0.6 * weights, atol=0.15, rtol=0)
    expected = (spikes.detach() * weights).sum(0)
    expected = expected.sum((1, 2)) if per == "channel" else expected
    torch.testing.assert_close(of_q, expected, atol=0.05, rtol=1e-4)
    for outside in (0.05, 1.5):
        torch.nn.init.constant_(made.probability, outside)
        (of_q,) = torch.autograd.grad(made(spikes).sum(), made.probability)
        assert not of_q.any()
    torch.nn.init.constant_(made.probability, 0.6)
    made.frozen = True
    # zero and not missing, for several processes
    (of_q,) = torch.autograd.grad(made(spikes).sum(), made.probability)
    assert not of_q.any()


@EACH
def test_every_image_step_and_call_has_its_own_draw(per):
    torch.manual_seed(0)
    made, spikes = gates(per).eval(), torch.ones(6, 3, 4, 5)
    passed = made(spikes)
    assert not any(torch.equal(a, b) for i, a in enumerate(passed) for b in passed[:i])
    assert not torch.equal(made(spikes), passed)
    torch.manual_seed(0)
    last = made(spikes.contiguous(memory_format=torch.channels_last))
    assert torch.equal(last, passed) and last.is_contiguous(memory_format=torch.channels_last)


@EACH
def test_a_network_with_gates_is_stochastic(per, tmp_path):
    model = network(gates=per, image_size=(8, 8))
    for _ in range(20):  # running statistics, without which no neuron fires
        model(torch.rand(4, 3, 8, 8))
    model.eval()
    for neurons in spiking_neurons(model):
        torch.nn.init.constant_(neurons.gates.probability, 0.5)
    images = torch.rand(2, 3, 8, 8)
    assert nature(model, images, 0.0).kind == "stochastic"
    save(model, tmp_path / "model.safetensors")
    found = []
    for each in (model, load(tmp_path / "model.safetensors")):
        torch.manual_seed(1)
        found.append(each(images))
    assert torch.equal(*found)
    gradients = []
    for surrogate in ("rectangle", "atan"):
        with surrogate_gradient(model, surrogate):
            torch.manual_seed(1)
            leaf = images.clone().requires_grad_()
            logits = model(leaf)
            assert torch.equal(logits, found[0])
            gradients.append(torch.autograd.grad(logits[:, 0].sum(), leaf)[0])
    assert gradients[0].any() and not torch.equal(*gradients)


def test_refuses():
    with pytest.raises(InputError, match="did you mean 'neuron'"):
        network(gates="neurons")
    with pytest.raises(InputError, match="image_size: needed"):
        network(gates="neuron")
    with pytest.raises(InputError, match="each neuron has its own"):
        gates("neuron")(torch.ones(6, 3, 4, 4))
    # without an image size channels have gates
    assert network(gates="channel")(torch.rand(1, 3, 8, 8)).shape == (1, 10)
