"""The census against plain loops and the closed forms of each surrogate's window."""

import math

import pytest
import torch
from torch import nn

from purespike.errors import InputError
from purespike.models.layers import Layers
from purespike.neurons import (
    LIF,
    Census,
    MultiLevelFiring,
    Surrogate,
    answer_and_firing,
    firing_rates,
    membrane_census,
    parse_surrogate,
    surrogate_gradient,
)
from purespike.neurons.adjoint import Firing, membrane_potentials
from purespike.neurons.normalised import normalise_and_fire

from .reference import drawn, membranes

LN10 = math.log(10)


def within(width):
    return lambda x, _: x.abs() <= width


def narrow_rectangle(x, _):
    return x.abs() < 0.25


def everywhere(x, _):
    return torch.ones_like(x, dtype=torch.bool)


def sharp(coverage):
    def window(x, _):
        omega = 2 / math.pi * math.tan(math.pi * coverage / 2)
        mean = 0.9 + 0.1 * x.abs()
        deviation = 0.1 * (x.abs() - mean).abs()
        return x.abs() <= 6 / math.pi * (mean + 1.5 * deviation + 1e-4) / omega

    return window


def spread(x, _):
    """``x``: ``[T, N, C, H, W]`` or ``[T, N, F]``."""
    inside = []
    for t in range(len(x)):
        seen = x[: t + 1]
        if x.ndim == 5:
            deviation = seen.transpose(2, 0).flatten(1).std(1)[:, None, None]
        else:
            deviation = seen.std()
        inside.append((x[t] - deviation / 2).abs() <= deviation * math.sqrt(2 * LN10))
    return torch.stack(inside)


def driven(x, current_over_threshold):
    mean = current_over_threshold.mean(0)
    return ((mean >= 0) & (mean <= 2)).expand_as(x)


def fired(x, _):
    return (x >= 0).any(0).expand_as(x)


WINDOWS = {
    "rectangle(width=0.5)": narrow_rectangle,
    "triangle(width=1)": within(0.9),
    "triangle(width=2.5)": within(2.25),
    "atan(alpha=2)": within(3 / math.pi),
    "atan(alpha=0.5)": within(12 / math.pi),
    "exponential(alpha=3)": within(LN10 / 3),
    "gaussian(width=0.25)": within(0.25 * math.sqrt(2 * LN10)),
    "sigmoid(alpha=4)": within(math.log((1 + math.sqrt(0.9)) / (1 - math.sqrt(0.9))) / 4),
    "straightthrough": everywhere,
    "assg": sharp(0.8),
    "assg(coverage=0.95)": sharp(0.95),
    "pdsg": spread,
    "hart(width=0.5)": within(0.45),
    "ratebased": driven,
    "bptr": fired,
}


def test_every_surrogate_has_a_row():
    # other tests may register some of their own
    ours = {name for name, kind in Surrogate.known.items() if kind.__module__.startswith("purespike.")}
    assert {text.partition("(")[0] for text in WINDOWS} == ours


@pytest.mark.parametrize("text", WINDOWS)
def test_relative_slopes_reach_one_and_never_pass_it(text):
    # a neuron for each current, the same at all steps; symmetric, so that pdsg has a spread to find
    inputs = [torch.linspace(-6, 6, 4801, dtype=torch.float64)] * 3
    potentials, silent = membrane_potentials(inputs, 0.7, 0.3)
    run = Firing(inputs, potentials, silent, torch.empty(0), 0.7, 0.3)
    for slopes in parse_surrogate(text).relative_slopes(run):
        assert slopes.shape == (4801,)
        assert slopes.min() >= 0 and 0.99 < slopes.max() <= 1 + 1e-12


def counted(current, thresholds, decay, window):
    """The census of one layer, neuron by neuron; ``current``: ``[T, N, ...]``, float64."""
    inside, levels = [], []
    for threshold in thresholds:
        potentials, spikes = membranes(current, threshold, decay)
        inside.append(window(torch.stack(potentials) - threshold, current / threshold))
        levels.append(torch.stack(spikes))
    counts = torch.stack(levels).sum(0).flatten(2).tolist()
    steps, images, neurons = len(counts), len(counts[0]), len(counts[0][0])
    dead = saturated = total = 0
    for neuron in range(neurons):
        seen = [counts[t][n][neuron] for t in range(steps) for n in range(images)]
        dead += all(count == 0 for count in seen)
        saturated += all(count == len(thresholds) for count in seen)
        total += sum(seen)
    return {
        "rate": total / (steps * images * neurons * len(thresholds)),
        "in_window": torch.stack(inside).double().mean().item(),
        "dead": dead / neurons,
        "saturated": saturated / neurons,
    }


def check(census, expected):
    assert vars(census) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("text", WINDOWS)
@pytest.mark.parametrize("thresholds", [(0.6,), (0.6, 1.6, 2.6)], ids=["K=1", "K=3"])
def test_of_folded_images_behind_a_norm(monkeypatch, text, thresholds):
    passes, place = [], "purespike.neurons.neuron.normalise_and_fire"
    monkeypatch.setattr(place, lambda *args: passes.append(1) or normalise_and_fire(*args))
    current, _ = drawn(3 * 2, 5, 4, 3, seed=3)
    # channels far off are dead or saturated
    norm = nn.BatchNorm2d(5, dtype=torch.float64)
    nn.init.uniform_(norm.weight, 0.3, 1.5)
    norm.bias.detach().copy_(torch.tensor([0.2, 0.7, 9.0, -9.0, 0.5]))
    norm.running_mean.uniform_(-0.5, 0.5)
    norm.running_var.uniform_(0.5, 2)
    buffers = [buffer.clone() for buffer in norm.buffers()]
    model = Layers(norm, MultiLevelFiring(thresholds, surrogate=text, time_steps=3))
    normalised = nn.functional.batch_norm(
        current, norm.running_mean, norm.running_var, norm.weight, norm.bias
    )
    expected = counted(normalised.detach().unflatten(0, (3, 2)), thresholds, 0.25, WINDOWS[text])
    assert expected["dead"] >= 0.2 and expected["saturated"] >= 0.2
    result = membrane_census(model, current)
    assert passes == [1] and list(result) == ["1"]
    check(result["1"], expected)
    assert model.training and all(map(torch.equal, buffers, norm.buffers()))


@pytest.mark.parametrize("text", WINDOWS)
@pytest.mark.parametrize("shape", [(3, 2, 5, 4, 3), (4, 6, 7)], ids=["images", "features"])
@pytest.mark.parametrize("time", ["outside", "folded"])
def test_without_a_norm(text, shape, time):
    current, _ = drawn(*shape, seed=4)
    expected = counted(current, (0.5, 1.1), 0.4, WINDOWS[text])
    folded = time == "folded"
    neurons = MultiLevelFiring((0.5, 1.1), 0.4, text, shape[0] if folded else None)
    model = nn.Sequential(nn.Identity(), neurons)
    check(membrane_census(model, current.flatten(0, 1) if folded else current)["1"], expected)


def test_of_a_norm_that_does_not_fuse():
    current, _ = drawn(4, 3, 4, 4)
    norm = nn.BatchNorm2d(3, affine=False, dtype=torch.float64)
    norm.running_mean.fill_(0.3)
    model = Layers(norm, LIF(time_steps=2))
    expected = counted((norm.eval()(current)).unflatten(0, (2, 2)), (0.6,), 0.25, within(0.5))
    check(membrane_census(model, current)["1"], expected)


def test_by_hand():
    # no membrane carries over: one neuron comes to 0.5, then 1.5, one stays far below, one far above
    current = torch.tensor([[[0.5, -9.0, 9.0]], [[1.5, -9.0, 9.0]]])
    model = MultiLevelFiring((1.0, 2.0), decay=0.0, surrogate="rectangle(width=1.25)")
    # distances of the first: -0.5, 0.5 from 1 and -1.5, -0.5 from 2, of which three are below 0.625
    census = membrane_census(model, current)[""]
    assert isinstance(census, Census)
    check(census, {"rate": 5 / 12, "in_window": 3 / 12, "dead": 1 / 3, "saturated": 1 / 3})


def test_looks_through_the_surrogate_of_the_attacker():
    current, _ = drawn(4, 3, 50)
    model = nn.Sequential(LIF(surrogate="rectangle(width=0.2)"))
    own = membrane_census(model, current)["0"]
    with surrogate_gradient(model, "atan(alpha=2)"):
        attacked = membrane_census(model, current)["0"]
    assert own.in_window < attacked.in_window
    assert (own.rate, own.dead, own.saturated) == (attacked.rate, attacked.dead, attacked.saturated)
    check(attacked, counted(current, (0.6,), 0.25, within(3 / math.pi)))


def test_a_bfloat16_layer():
    current, _ = drawn(4, 3, 50)
    rounded = current.bfloat16()
    model = LIF(surrogate="triangle(width=2)")
    check(membrane_census(model, rounded)[""], counted(rounded.double(), (0.6,), 0.25, within(1.8)))


def test_layers_come_in_the_order_of_execution_and_rates_are_firing_rates():
    class Crossed(nn.Module):
        def __init__(self):
            super().__init__()
            self.later, self.sooner = LIF(), MultiLevelFiring()

        def forward(self, current):
            return self.later(current=self.sooner(current))

    current, _ = drawn(3, 2, 20)
    result = membrane_census(Crossed(), current)
    assert list(result) == ["sooner", "later"]
    assert {name: census.rate for name, census in result.items()} == firing_rates(Crossed(), current)


@pytest.mark.parametrize("look", [membrane_census, firing_rates])
def test_leaves_no_trace(look):
    model = nn.Sequential(LIF(), nn.Linear(3, 2))
    with pytest.raises(RuntimeError):
        look(model, torch.zeros(2, 5))
    assert model.training and not model[0]._forward_hooks
    look(model, torch.zeros(2, 3))
    assert model.training and not model[0]._forward_hooks


def test_needs_an_image():
    with pytest.raises(InputError, match="a census needs at least one"):
        membrane_census(LIF(time_steps=2), torch.zeros(0, 3))


def test_a_model_without_neurons_has_no_census():
    assert membrane_census(nn.Linear(3, 2), torch.zeros(2, 3)) == {}


def test_firing_rates_are_shares_of_possible_spikes():
    model = nn.Sequential(
        nn.Identity(), LIF(0.5, decay=0.0), MultiLevelFiring((0.5, 1.5), decay=0.0), nn.BatchNorm1d(2)
    )
    model.train()
    before = model[3].running_mean.clone()
    # LIF fires on three of four inputs; then one level of two is reached on those three
    rates = firing_rates(model, torch.tensor([[1.0, 1.0], [0.0, 2.0]]))
    assert rates == {"1": 0.75, "2": 0.375}
    assert model.training and model[3].training
    assert torch.equal(model[3].running_mean, before)


@pytest.mark.parametrize("folded", [False, True])
def test_spikes_of_a_layer_by_step(folded):
    neurons = MultiLevelFiring((0.6, 1.6, 2.6), time_steps=3 if folded else None)
    current = torch.randn(3, 2, 4, 5, 5, generator=torch.Generator().manual_seed(0)) + 0.5
    model = nn.Sequential(neurons)
    given = current.flatten(0, 1) if folded else current
    answer, found = answer_and_firing(model, given)
    assert torch.equal(answer, neurons(given))
    spikes = neurons(given).view(3, 2, 100)
    layer = found["0"]
    for t in range(3):
        # an image at a time, neuron by neuron
        counts = [sum(spikes[t, n].tolist()) for n in range(2)]
        assert layer.spikes[t] == pytest.approx(sum(counts) / 2)
        assert layer.rates[t] == pytest.approx(sum(counts) / (2 * 100 * 3))
    rates = firing_rates(model, given)
    assert sum(layer.rates) / 3 == pytest.approx(rates["0"])
    assert sum(layer.spikes) > 0 and len(set(layer.spikes)) == 3
