"""Surrogates of adversarial training that take turns."""

import pytest
import torch
from torch import nn

from purespike import InputError
from purespike.attacks import create_attack
from purespike.models import create
from purespike.neurons import spiking_neurons, surrogate_gradient
from purespike.training.objectives import Batch, create_objective

EPS = 0.1
TURNS = ("rectangle(width=1)", "atan(alpha=2)")


@pytest.fixture
def model():
    torch.manual_seed(0)
    return create("resnet14_snn", in_channels=1, num_classes=4, width=1 / 16, time_steps=2).eval()


def stepped(model, step, **settings):
    images = torch.rand((6, 1, 8, 8), generator=torch.Generator().manual_seed(2))
    labels = torch.tensor([0, 1, 2, 3, 0, 1])
    seen = []
    hook = model.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0].detach().clone()))
    objective = create_objective({"name": "pgd", "eps": EPS, "steps": 2, "step_size": 0.06, **settings})
    list(objective.steps(Batch(model, images, labels, step=step, seed=3)))
    hook.remove()
    return images, labels, seen[-1]


@pytest.mark.parametrize("step", [0, 1, 2])
def test_each_step_attacks_with_the_surrogate_whose_turn_it_is(model, step):
    images, labels, trained_on = stepped(model, step, surrogates=TURNS)
    found = {}
    for name in TURNS:
        attack = create_attack("pgd", eps=EPS, steps=2, step_size=0.06, seed=3)
        with surrogate_gradient(model, name):
            found[name] = attack.perturb(model, images, labels)
    assert torch.equal(trained_on, found[TURNS[step % 2]])
    assert not torch.equal(found[TURNS[0]], found[TURNS[1]])
    assert {str(neuron.surrogate) for neuron in spiking_neurons(model)} == {"rectangle(width=1)"}


def test_none_means_the_network_s_own(model):
    own, other = (stepped(model, 1, surrogates=given)[2] for given in ((), TURNS[:1]))
    assert torch.equal(own, other)


def test_unknown_ones_are_refused():
    with pytest.raises(InputError, match="surrogate"):
        create_objective({"name": "fgsm", "eps": EPS, "surrogates": ["rectangel"]})


def test_a_network_without_spikes_has_none_to_exchange():
    plain = nn.Sequential(nn.Flatten(), nn.Linear(64, 4))
    with pytest.raises(InputError):
        stepped(plain, 0, surrogates=TURNS)
