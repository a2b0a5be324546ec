"""The sweep over surrogates, and the census of neurons."""

import copy

import pytest
import torch
from torch import nn

from evaluation.victims import foreign, photographs, spiking
from purespike.attacks import SignAttack
from purespike.evaluation.diagnostics.neurons import check_neurons
from purespike.evaluation.diagnostics.surrogates import SWEEP, check_surrogates
from purespike.neurons import MultiLevelFiring, parse_surrogate, surrogate_gradient

from .asking import ask, by_name, one

EPS = 16 / 255
ATTACK = SignAttack(eps=EPS, steps=5, step_size=EPS / 3)
NARROW = "rectangle(width=0.01)"


@pytest.fixture(scope="module")
def given():
    images, labels = photographs(8, seed=21)
    right = spiking()(images).argmax(1) == labels
    return images[right], labels[right]


@pytest.fixture(scope="module")
def narrow():
    model = copy.deepcopy(spiking())
    for module in model.modules():
        if isinstance(module, MultiLevelFiring):
            module.surrogate = parse_surrogate(NARROW)
    return model


def sweep(model, given, used):
    return by_name(ask(check_surrogates, model, *given, attack=ATTACK, surrogates=used))


def test_a_surrogate_and_an_ensemble_that_miss_what_others_find(narrow, given):
    alone = sweep(narrow, given, [NARROW])
    assert alone["surrogate"].level == alone["surrogate ensemble"].level == "suspicious"
    assert "spread of" in alone["surrogate"].message and f"{NARROW} the fewest" in alone["surrogate"].message
    assert "rectangle(width=1)" in alone["surrogate ensemble"].advice
    assert NARROW not in alone["surrogate ensemble"].advice


def test_an_ensemble_that_misses_nothing_and_a_surrogate_that_is_good(narrow, given):
    assert sweep(narrow, given, ["rectangle(width=1)"])["surrogate ensemble"].level == "reliable"
    good = sweep(spiking(), given, ["triangle(width=1)"])
    assert good["surrogate"].level == good["surrogate ensemble"].level == "reliable"
    assert f"of {len(SWEEP)} tried" in good["surrogate"].message


def test_a_model_without_our_neurons_has_no_choice(given):
    assert ask(check_surrogates, foreign(), *given, attack=ATTACK) == []
    assert ask(check_neurons, foreign(), *given) == []


def test_the_sweep_can_be_parsed_and_covers_what_attackers_know():
    kinds = {type(parse_surrogate(name)).__name__ for name in SWEEP}
    assert kinds == {"Rectangle", "Triangle", "ATan", "RateBased", "BPTR", "PDSG", "ASSG", "HART"}


class Layer(nn.Module):
    """Images to one layer of neurons, whose input is shifted."""

    def __init__(self, shift, surrogate="rectangle"):
        super().__init__()
        self.shift = shift
        self.neurons = MultiLevelFiring((1.0,), surrogate=surrogate)

    def forward(self, images):
        current = images.flatten(1) + self.shift
        return self.neurons(torch.stack([current, current])).mean(0)[:, :4]


@pytest.mark.parametrize(
    ("model", "used", "reason"),
    [
        (Layer(-5.0), (), "silent layers: neurons"),
        (Layer(5.0), (), "saturated: neurons"),
        (Layer(0.5, NARROW.replace("0.01", "1e-6")), (), "out of every surrogate's window: neurons"),
        (Layer(0.5, NARROW.replace("0.01", "1e-6")), ("atan(alpha=2)",), None),
        (Layer(0.5), (), None),
    ],
)
def test_a_layer_must_pass_information_and_gradients(given, model, used, reason):
    found = one(check_neurons, model, *given, surrogates=used, attackable=True)
    assert found.level == ("suspicious" if reason else "reliable")
    assert found.message.startswith(reason or "1 layers fire")


def test_the_census_is_a_plain_count(given):
    images, labels = given
    model = Layer(0.3)
    # two steps, written out: a membrane that fires at 1 is reset, what is left decays to a quarter
    first = images.flatten(1) + 0.3
    second = first + 0.25 * first * (first < 1)
    rate = torch.cat([first >= 1, second >= 1]).float().mean().item()
    window = torch.cat([(first - 1).abs(), (second - 1).abs()]).le(0.5).float().mean().item()
    found = one(check_neurons, model, images, labels, surrogates=())
    assert f"rates from {rate:.1%} to {rate:.1%}" in found.message
    assert f"{window:.1%} to {window:.1%} of the membranes" in found.message


def test_the_model_keeps_its_surrogate(given):
    with surrogate_gradient(spiking(), "atan(alpha=3)"):
        one(check_neurons, spiking(), *given, surrogates=SWEEP[:2], attackable=True)
        surrogates = {str(m.surrogate) for m in spiking().modules() if isinstance(m, MultiLevelFiring)}
        assert surrogates == {"atan(alpha=3)"}
