"""``Layers`` against the ``nn.Sequential`` that it stands for."""

import copy
import itertools

import pytest
import torch
from torch import nn

from purespike.models import create
from purespike.models.layers import Layers, NeuronConfig, conv1x1
from purespike.neurons import MultiLevelFiring, firing_rates, neuron

MODES = pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
NEURONS = NeuronConfig(thresholds=(0.6, 1.6), surrogate="atan", time_steps=2)

PIECES = {
    "conv": lambda: nn.Conv2d(3, 3, 3, padding=1),
    "norm": lambda: NEURONS.norm(3),
    "neurons": NEURONS.make,
}
# how many pairs of them can run as one step
ORDERS = {
    "conv norm neurons": 1,
    "norm neurons": 1,
    "conv norm neurons conv norm neurons": 2,
    "norm norm neurons": 1,
    "norm neurons neurons": 1,
    "norm neurons norm neurons": 2,
    "neurons norm": 0,
    "neurons norm conv neurons": 0,
    "norm": 0,
    "neurons": 0,
    "": 0,
}


def both(order, dtype=torch.float64):
    torch.manual_seed(0)
    pieces = [PIECES[name]() for name in order.split()]
    for piece in pieces:
        for parameter in piece.parameters():
            nn.init.uniform_(parameter, 0.1, 1.0)
    return Layers(*pieces).to(dtype), nn.Sequential(*copy.deepcopy(pieces)).to(dtype)


def everything(model, images):
    """Outputs, gradients and statistics."""
    leaf = images.detach().requires_grad_()
    outputs = model(leaf)
    (outputs * torch.linspace(0, 1, outputs.numel()).view_as(outputs)).sum().backward()
    gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
    return outputs.detach(), leaf.grad, gradients, dict(model.named_buffers())


def count_fused(monkeypatch):
    counter, real = itertools.count(), neuron.normalise_and_fire

    def counted(*arguments):
        next(counter)
        return real(*arguments)

    monkeypatch.setattr(neuron, "normalise_and_fire", counted)
    return counter


@MODES
@pytest.mark.parametrize("order", ORDERS)
def test_gives_what_sequential_gives(monkeypatch, order, training):
    layers, sequential = both(order)
    images = torch.randn(4, 3, 6, 6, dtype=torch.float64)
    fused = count_fused(monkeypatch)
    actual = everything(layers.train(training), images)
    assert next(fused) == ORDERS[order]
    expected = everything(sequential.train(training), images)
    torch.testing.assert_close(actual, expected, atol=1e-11, rtol=1e-11)


@pytest.mark.parametrize("order", ORDERS)
def test_names_are_those_of_sequential(order):
    layers, sequential = both(order)
    assert list(layers.state_dict()) == list(sequential.state_dict())
    layers.load_state_dict(sequential.state_dict())
    assert isinstance(layers[:2], Layers)


def test_one_norm_may_stand_at_two_places():
    norm, neurons = NEURONS.norm(3), NEURONS.make()
    modules = [norm, neurons, norm, norm, neurons]
    layers, sequential = Layers(*modules).double(), nn.Sequential(*copy.deepcopy(modules)).double()
    images = torch.randn(4, 3, 6, 6, dtype=torch.float64)
    torch.testing.assert_close(
        everything(layers, images), everything(sequential, images), atol=1e-11, rtol=1e-11
    )
    assert norm.num_batches_tracked == 3


@MODES
def test_autocast_gives_what_sequential_gives(training):
    layers, sequential = (
        model.train(training) for model in both("conv norm neurons conv norm", dtype=torch.float32)
    )
    images = torch.randn(4, 3, 16, 16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        actual, expected = (everything(model, images) for model in (layers, sequential))
    assert actual[0].dtype == expected[0].dtype == torch.bfloat16
    # rounded to bfloat16 before it fires, the current of Sequential crosses a threshold here and there
    for value, other in zip(actual[:2], expected[:2], strict=True):
        assert (value - other).norm() < 0.05 * other.norm()


@pytest.mark.parametrize("fullgraph", [False, True], ids=["breaks allowed", "one graph"])
def test_compiled_as_a_whole_gives_what_sequential_gives(fullgraph):
    layers, sequential = both("conv norm neurons")
    images = torch.randn(4, 3, 6, 6, dtype=torch.float64)
    torch.compiler.reset()
    actual = everything(torch.compile(layers, backend="eager", fullgraph=fullgraph), images)
    for value, other in zip(actual[:2], everything(sequential, images)[:2], strict=True):
        torch.testing.assert_close(value, other, atol=1e-11, rtol=1e-11)


@MODES
def test_hooks_on_the_neurons_see_the_spikes(training):
    layers, sequential = (model.train(training) for model in both("conv norm neurons norm neurons"))
    images = torch.randn(4, 3, 6, 6, dtype=torch.float64)
    seen = {}
    for model in (layers, sequential):
        for name, module in model.named_modules():
            if isinstance(module, MultiLevelFiring):
                module.register_forward_hook(
                    lambda _, __, spikes, key=(model, name): seen.update({key: spikes})
                )
        model(images)
    assert len(seen) == 4
    for name in ("2", "4"):
        assert torch.equal(seen[layers, name], seen[sequential, name])
        assert set(seen[layers, name].unique().tolist()) <= {0, 1, 2}


@MODES
def test_firing_rates_are_those_of_sequential(training):
    layers, sequential = both("conv norm neurons norm neurons neurons norm")
    images = torch.randn(4, 3, 6, 6, dtype=torch.float64)
    rates = firing_rates(layers, images, training=training)
    assert rates == firing_rates(sequential, images, training=training)
    assert list(rates) == ["2", "4", "5"]
    assert all(0 < rate < 1 for rate in rates.values())
    assert layers[1].num_batches_tracked == sequential[1].num_batches_tracked == int(training)


@pytest.mark.parametrize("name", ["resnet14_snn", "senet18_snn"])
def test_a_classifier_equals_itself_run_apart(monkeypatch, name):
    torch.manual_seed(0)
    model = create(name, width=0.125).double()
    images = torch.rand(2, 3, 16, 16, dtype=torch.float64)
    fused = count_fused(monkeypatch)
    together = everything(copy.deepcopy(model), images)
    rates = firing_rates(model, images)
    assert next(fused) > 0
    assert len(rates) == sum(isinstance(module, MultiLevelFiring) for module in model.modules())
    monkeypatch.setattr(Layers, "forward", nn.Sequential.forward)
    assert firing_rates(model, images) == rates
    torch.testing.assert_close(together, everything(model, images), atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("channels", [4, 6, 8], ids=str)
def test_a_pointwise_convolution_is_a_product_of_matrices(channels, stride):
    # with fewer than 8 channels the library's own backward damages the heap of some CPUs
    torch.manual_seed(0)
    layer = conv1x1(channels, 2 * channels, stride).double().to(memory_format=torch.channels_last)
    images = torch.randn(64, channels, 8, 8, dtype=torch.float64, requires_grad=True)
    outputs = layer(images)
    weight = layer.weight.detach()[:, :, 0, 0]
    torch.testing.assert_close(
        outputs, torch.einsum("nchw,oc->nohw", images[..., ::stride, ::stride], weight).detach()
    )
    upstream = torch.randn_like(outputs)
    outputs.backward(upstream)
    expected = torch.zeros_like(images)
    expected[..., ::stride, ::stride] = torch.einsum("nohw,oc->nchw", upstream, weight)
    torch.testing.assert_close(images.grad, expected)
