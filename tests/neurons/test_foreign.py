"""Neurons of other libraries: their surrogate and their reset are exchanged, their spikes are not."""

import pytest
import torch
from torch import nn

from purespike.errors import InputError
from purespike.models import Resetting
from purespike.neurons import (
    LIF,
    accepted,
    accepts,
    exchangeable_neurons,
    foreign_neurons,
    other_resets,
    surrogate_gradient,
    unknown_spiking_modules,
)

from .reference import Spike, arctangent

STEPS = 4


class OwnDerivative(nn.Module):
    def forward(self, distance):
        return Spike.apply(distance, lambda x: torch.full_like(x, 0.01))


class Node(nn.Module):
    """Written as SpikingJelly's nodes are, in plain operations: hard reset, state kept between calls."""

    def __init__(self, function=None, detach_reset=False):
        super().__init__()
        self.surrogate_function = function or OwnDerivative()
        self.detach_reset = detach_reset
        self.reset()

    def reset(self):
        self.v = 0.0

    def forward(self, x):
        v = self.v + (x - self.v) / 2
        spikes = self.surrogate_function(v - 0.2)
        self.v = v * (1 - (spikes.detach() if self.detach_reset else spikes))
        return spikes


class Cell(nn.Module):
    """Written as snnTorch's neurons are: the function is no module, the reset is detached."""

    def __init__(self, function=None):
        super().__init__()
        self.spike_grad = function or (lambda distance: Spike.apply(distance, torch.zeros_like))
        self.reset_mem()

    def reset_mem(self):
        self.mem = torch.zeros(())

    def forward(self, x):
        # under this name snnTorch keeps a tensor
        self.reset = self.spike_grad(self.mem - 0.2).detach()
        self.mem = 0.5 * self.mem + x - self.reset * 0.2
        return self.spike_grad(self.mem - 0.2)


class Steps(nn.Module):
    def __init__(self, neurons):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.neurons, self.last = nn.Linear(12, 8), neurons, nn.Linear(8, 4)

    def forward(self, images):
        current = self.first(images.flatten(1))
        return sum(self.last(self.neurons(current)) for _ in range(STEPS)) / STEPS


def arctan(distance):
    return Spike.apply(distance, arctangent(2.0))


def jelly(atan=False, **settings):
    neuron = pytest.importorskip("spikingjelly.activation_based.neuron")
    surrogate = pytest.importorskip("spikingjelly.activation_based.surrogate")
    function = surrogate.ATan(2.0) if atan else surrogate.Sigmoid(100.0)
    return neuron.LIFNode(v_threshold=0.2, surrogate_function=function, **settings)


def snntorch(atan=False):
    module = pytest.importorskip("snntorch")
    surrogate = pytest.importorskip("snntorch.surrogate")
    function = surrogate.atan(alpha=2.0) if atan else surrogate.fast_sigmoid(slope=1000)
    return module.Leaky(beta=0.5, threshold=0.2, spike_grad=function, init_hidden=True)


class Arctan(nn.Module):
    def forward(self, distance):
        return arctan(distance)


MAKERS = {
    "node": lambda atan=False, **settings: Node(Arctan() if atan else None, **settings),
    "cell": lambda atan=False: Cell(arctan if atan else None),
    "spikingjelly": jelly,
    "snntorch": snntorch,
}
IMAGES = torch.rand(5, 3, 2, 2, generator=torch.Generator().manual_seed(1))


def gradient(model):
    leaf = IMAGES.clone().requires_grad_()
    logits = model(leaf)
    return logits.detach(), torch.autograd.grad(logits[:, 0].sum(), leaf)[0]


@pytest.fixture(params=MAKERS)
def make(request):
    return MAKERS[request.param]


def test_another_surrogate_gives_the_gradient_of_a_network_that_has_it(make):
    model, other = (Resetting(Steps(make(atan))) for atan in (False, True))
    spikes, own = gradient(model)
    same, expected = gradient(other)
    function = foreign_neurons(model)[0].module
    before = dict(vars(function)), dict(function._modules)
    with surrogate_gradient(model, "atan(alpha=2)"):
        inside, found = gradient(model)
    torch.testing.assert_close(found, expected)
    assert torch.equal(inside, spikes) and torch.equal(inside, same)
    assert (own - found).abs().max() > 1e-3
    assert all(vars(function)[name] is value for name, value in before[0].items() if callable(value))
    assert function._modules == before[1]
    assert torch.equal(gradient(model)[1], own)


def test_it_comes_back_after_an_exception(make):
    model = Resetting(Steps(make()))
    own = gradient(model)[1]
    with pytest.raises(RuntimeError), surrogate_gradient(model, "straightthrough"):
        raise RuntimeError
    assert torch.equal(gradient(model)[1], own)


@pytest.mark.parametrize("name", ["node", "spikingjelly"])
def test_the_reset_is_exchanged(name):
    make = MAKERS[name]
    model = Resetting(Steps(make(True)))
    assert other_resets(model) == ("detached",)
    with surrogate_gradient(model, reset="detached"):
        _, found = gradient(model)
    torch.testing.assert_close(found, gradient(Resetting(Steps(make(True, detach_reset=True))))[1])
    assert (found - gradient(model)[1]).abs().max() > 1e-4


def test_a_reset_that_is_always_detached_is_no_choice():
    model = Resetting(Steps(Cell()))
    assert other_resets(model) == ()
    with pytest.raises(InputError, match="would change nothing"), surrogate_gradient(model, reset="detached"):
        pass


def test_surrogates_over_all_steps_are_left_out_or_refused(make):
    model = Steps(make())
    assert accepted(model, ("hart", "atan(alpha=2)", "assg", "pdsg", "bptr", "ratebased")) == (
        "atan(alpha=2)",
    )
    assert not accepts(model, "assg")
    with pytest.raises(InputError, match="hart: needs all time steps"):
        accepted(model, ("hart",))
    with pytest.raises(InputError, match="shows one at a time"), surrogate_gradient(model, "pdsg"):
        pass


def test_beside_neurons_of_ours():
    model = nn.Sequential(LIF(time_steps=1), Node())
    assert len(exchangeable_neurons(model)) == 2
    assert accepted(model, ("hart", "triangle")) == ("triangle",)


@pytest.mark.parametrize("choice", [{"surrogate": "atan"}, {"reset": "detached"}])
def test_a_model_that_would_not_change_is_refused(choice):
    model = nn.Linear(2, 2)
    with pytest.raises(InputError, match="would change nothing"), surrogate_gradient(model, **choice):
        pass
    assert accepted(model, ("atan",)) == ()


def test_they_are_known(make):
    assert unknown_spiking_modules(Resetting(Steps(make())), IMAGES) == []


def test_resetting_makes_a_function_of_an_image(make):
    model = Steps(make())
    once = Resetting(model)(IMAGES)
    forgets = Resetting(model)
    assert torch.equal(forgets(IMAGES), once) and torch.equal(forgets(IMAGES[:2]), once[:2])
    model(IMAGES)
    assert torch.equal(forgets(IMAGES), once)


def test_resetting_by_a_function_and_without_any():
    model = Steps(nn.ReLU())
    calls = []
    Resetting(model, reset=calls.append)(IMAGES)
    assert calls == [model, model]
    with pytest.raises(InputError, match="no module of Steps has reset"):
        Resetting(model)
