"""Dynamics and surrogates of one's own that do not fit together, or return something else, are named."""

from dataclasses import dataclass

import pytest
import torch
from torch import nn

from purespike.errors import InputError
from purespike.neurons import (
    Dynamics,
    MultiLevelFiring,
    SpikingNeuron,
    Surrogate,
    accepts,
    surrogate_gradient,
)


@dataclass(frozen=True)
class Fused(Surrogate):
    """Its gradient is written for multi-level firing alone."""

    def derivative(self, distance):
        return torch.ones_like(distance)

    def input_gradients(self, firing):
        return [firing.incoming(t) for t in range(len(firing.membranes))]


@dataclass(frozen=True)
class Leaking(Dynamics):
    """No constant share of the membrane is kept."""

    threshold: float = 1.0

    def run(self, current, spike, state, tensors):
        return [spike(x - self.threshold) for x in current], ()


def test_a_pair_without_a_gradient_is_refused():
    for surrogate, kind, message in (
        ("fused", "adaptivelif", "surrogate fused: .* dynamics adaptivelif define slope"),
        ("ratebased", "leaking", "surrogate ratebased: needs a constant decay, .* leaking"),
    ):
        with pytest.raises(InputError, match=message):
            SpikingNeuron(kind, surrogate)
        model = nn.Sequential(MultiLevelFiring(surrogate=surrogate), SpikingNeuron(kind))
        with pytest.raises(InputError, match=message), surrogate_gradient(model, surrogate):
            pass
        assert str(model[1].surrogate) == "rectangle(width=1)"
        assert not accepts(model, surrogate) and accepts(model[0], surrogate)


@dataclass(frozen=True)
class Twice(Dynamics):
    threshold: float = 1.0

    def run(self, current, spike, state, tensors):
        return [spike(x) + spike(x - 1) for x in current], ()


def test_a_loop_that_asks_twice_a_step_is_refused():
    with pytest.raises(InputError, match=r"dynamics twice: .* got 6 calls and 3 spikes of 3 steps"):
        SpikingNeuron("twice")(torch.zeros(3, 2))


@dataclass(frozen=True)
class Returning(Dynamics):
    """Answers with something else than its spikes and its state."""

    threshold: float = 1.0
    answer: str = "right"

    def run(self, current, spike, state, tensors):
        spikes = [spike(x - 1) for x in current]
        return {
            "right": (spikes, (current[0],)),
            "stacked": (torch.stack(spikes), [current[0]]),
            "nothing": None,
            "no state": spikes,
            "None as state": (spikes, None),
            "a tensor as state": (spikes, current[0]),
            "a number in the state": (spikes, (0.5,)),
            "three parts": (spikes, (), ()),
            "one neuron": ([step[:1] for step in spikes], ()),
            "numbers": ([1.0 for _ in spikes], ()),
        }[self.answer]


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        ("nothing", r"return spikes, \(membrane,\)`; got NoneType$"),
        ("no state", "and the state after the last.*; got list$"),
        ("None as state", r"got \(list, NoneType\)$"),
        ("a tensor as state", r"got \(list, Tensor\)$"),
        ("a number in the state", r"got \(list, \(float\)\)$"),
        ("three parts", r"got \(list, \(\), \(\)\)$"),
        ("one neuron", r"spikes of each step in the shape of the current's, \[4\], got Tensor \[1\]$"),
        ("numbers", r"spikes of each step in the shape of the current's, \[4\], got float$"),
    ],
)
@pytest.mark.parametrize("surrogate", ["rectangle", "hart"])
def test_a_loop_that_returns_something_else_is_named(answer, says, surrogate):
    layer = SpikingNeuron(Returning(answer=answer), surrogate)
    for current in (torch.zeros(3, 4), torch.zeros(3, 4, requires_grad=True)):
        with pytest.raises(InputError, match=rf"^dynamics returning: run must return .*{says}"):
            layer(current)


@pytest.mark.parametrize("answer", ["right", "stacked"])
def test_spikes_may_be_a_list_or_a_tensor(answer):
    assert SpikingNeuron(Returning(answer=answer))(torch.ones(3, 4)).tolist() == [[1.0] * 4] * 3
