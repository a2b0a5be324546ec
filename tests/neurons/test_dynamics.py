"""Every kind of dynamics against plain float64 loops, and all that finds neurons in a model."""

import copy
from dataclasses import dataclass

import pytest
import torch
from torch import nn

from purespike.errors import InputError
from purespike.models.complexity import energy
from purespike.neurons import (
    MLF,
    Dynamics,
    MultiLevelFiring,
    SpikingNeuron,
    accepts,
    fire_dynamics,
    membrane_census,
    multi_level_firing,
    parse_dynamics,
    parse_surrogate,
    size_neurons,
    spiking_neurons,
    surrogate_gradient,
)

from . import looped  # noqa: F401
from .reference import SLOPES, Sharpness, Spike, check, drawn, pdsg_slopes, rate_slope


@dataclass(frozen=True)
class Mixed(Dynamics):
    """Soft reset, a leak and a gain per step, a threshold per channel, and noise."""

    threshold: float = 0.6
    decay: float = 0.5
    noise: float = 0.0

    def learnable(self, channels):
        return {"offset": torch.linspace(-0.1, 0.1, channels or 1)}

    def drawn(self, current, training):
        noise = self.noise * torch.randn(current.shape, device=current.device, dtype=current.dtype)
        return {"noise": noise} if self.noise else {}

    def run(self, current, spike, state, tensors):
        membrane, spikes = state[0] if state else torch.zeros_like(current[0]), []
        for t, x in enumerate(current):
            noise = tensors["noise"][t] if self.noise else 0.0
            membrane = self.decay / (1 + t) * membrane + (1 + 0.1 * t) * x + noise
            fired = spike(membrane - self.threshold - tensors["offset"])
            membrane = membrane - self.threshold * fired
            spikes.append(fired)
        return spikes, (membrane,)


def plain_mlf(current, spike, tensors, thresholds=(0.6, 1.6), decay=0.3):
    membranes, resets, counts = [0.0] * len(thresholds), [0.0] * len(thresholds), []
    for t, x in enumerate(current):
        for k, threshold in enumerate(thresholds):
            membranes[k] = decay * membranes[k] * (1 - resets[k]) + x
            resets[k] = spike(t, k, membranes[k] - threshold)
        counts.append(sum(resets))
    return counts


def plain_adaptive(current, spike, tensors, rise=0.4):
    membrane, reset, threshold, counts = 0.0, 0.0, 0.0, []
    rise = tensors.get("rise", rise)
    for t, x in enumerate(current):
        membrane = 0.25 * membrane * (1 - reset) + x
        reset = spike(t, 0, membrane - 0.6 - rise * threshold)
        threshold = 0.9 * threshold + 0.1 * reset
        counts.append(reset)
    return counts


def plain_parametric(current, spike, tensors):
    return plain_mlf(current, spike, tensors, (0.6,), torch.sigmoid(tensors["leak"]))


def plain_learnable(current, spike, tensors, soft=False):
    threshold, membrane, counts = tensors["threshold"], 0.0, []
    for t, x in enumerate(current):
        membrane = tensors["decay"] * membrane + x
        counts.append(spike(t, 0, 0.5 * (membrane / threshold - 1)))
        membrane = membrane - threshold * counts[-1] if soft else membrane * (1 - counts[-1])
    return counts


def plain_soft(current, spike, tensors):
    return plain_learnable(current, spike, tensors, soft=True)


def plain_mixed(current, spike, tensors):
    offset = tensors["offset"]
    offset = offset.view(-1, *[1] * (current.ndim - 3))
    membrane, counts = 0.0, []
    for t, x in enumerate(current):
        membrane = 0.5 / (1 + t) * membrane + (1 + 0.1 * t) * x
        counts.append(spike(t, 0, membrane - 0.6 - offset))
        membrane = membrane - 0.6 * counts[-1]
    return counts


def plain_steps(current, spike, tensors):
    membrane, reset, counts = 0.0, 0.0, []
    for t, x in enumerate(current):
        membrane = tensors["leak"][t] * membrane * (1 - reset) + x
        reset = spike(t, 0, membrane - 0.6)
        counts.append(reset)
    return counts


def plain_threshold_adapting(current, spike, tensors):
    membrane, reset, counts = 0.0, 0.0, []
    errors = []
    for t, x in enumerate(current):
        membrane = 0.3 * membrane * (1 - reset) + x
        errors.append(membrane - tensors["trace"][t])
        reset = spike(t, 0, membrane - (0.6 + tensors["rise"] * sum(errors)))
        counts.append(reset)
    return counts


KINDS = {
    "mlf(thresholds=[0.6, 1.6], decay=0.3)": (plain_mlf, (0.6, 1.6), 0.3),
    "looped(thresholds=[0.6, 1.6], decay=0.3)": (plain_mlf, (0.6, 1.6), 0.3),
    "adaptivelif(rise=0.4)": (plain_adaptive, (0.6,), 0.25),
    "adaptivelif(rise=0.4, learned=true)": (plain_adaptive, (0.6,), 0.25),
    "parametriclif(decay=0.3)": (plain_parametric, (0.6,), 0.3),
    "learnablelif(threshold=0.5, decay=0.25)": (plain_learnable, (0.5,), 0.25),
    "learnablelif(threshold=0.5, decay=0.25, soft=true)": (plain_soft, (0.5,), 0.25),
    "mixed": (plain_mixed, (0.6,), 0.5),
    "steplif(threshold=0.6, decay=0.7)": (plain_steps, (0.6,), None),
    "talif(threshold=0.6, decay=0.3, rise=0.25)": (plain_threshold_adapting, (0.6,), 0.3),
}
EACH = pytest.mark.parametrize("kind", KINDS)
SHAPE = (4, 2, 3, 4, 5)


def layer(kind, surrogate="rectangle", time_steps=None):
    neurons = SpikingNeuron(kind, surrogate, time_steps, channels=3)
    if neurons.sized:
        neurons.size(SHAPE[0], SHAPE[2:])
    return neurons.double()


def values(neurons):
    """Parameters and constants of the dynamics by name, channels first."""
    return {name.rpartition(".")[2]: value for name, value in neurons.state_dict(keep_vars=True).items()}


def expected(kind, current, weights, slope):
    """Spikes, gradients of the current and of every parameter; ``slope(t, k, distance)``."""
    leaf = current.detach().clone().requires_grad_()
    tensors = {
        name: p.detach().clone().requires_grad_(p.requires_grad) for name, p in values(layer(kind)).items()
    }

    def spike(t, k, distance):
        return Spike.apply(distance, lambda _: slope(t, k, distance.detach()))

    counts = torch.stack(KINDS[kind][0](leaf, spike, tensors))
    parameters = [value for value in tensors.values() if value.requires_grad]
    gradients = torch.autograd.grad((counts * weights).sum(), [leaf, *parameters])
    return counts.detach(), *gradients


def differentiated(model, current, weights):
    leaf = current.detach().clone().requires_grad_()
    spikes = model(leaf)
    gradients = torch.autograd.grad((spikes * weights).sum(), [leaf, *model.parameters()])
    return spikes.detach(), *gradients


def distances(kind, current):
    found = {}

    def slope(t, k, distance):
        found[t, k] = distance
        return distance

    expected(kind, current, torch.ones_like(current), slope)
    return found


def max_over(at, steps, level):
    return torch.stack([at[t, level] for t in steps]).amax(0)


@EACH
@pytest.mark.parametrize("channels_last", [False, True], ids=["contiguous", "channels_last"])
@pytest.mark.parametrize("surrogate", ["rectangle(width=1)", "atan(alpha=2)", "triangle(width=2.5)"])
def test_spikes_and_gradients_are_those_of_a_plain_loop(kind, surrogate, channels_last):
    current, weights = drawn(*SHAPE)
    if channels_last:
        current = current.permute(0, 1, 3, 4, 2).contiguous().permute(0, 1, 4, 2, 3)
    found = differentiated(layer(kind, surrogate), current, weights)
    reference = expected(kind, current, weights, lambda t, k, distance: SLOPES[surrogate](distance))
    assert torch.equal(found[0], reference[0]) and found[0].stride() == current.stride()
    for gradient, other in zip(found[1:], reference[1:], strict=True):
        assert other.abs().max() > 0
        check(gradient, other, 1e-11)


@EACH
def test_surrogates_over_all_steps_are_their_equations(kind):
    current, weights = drawn(*SHAPE)
    _, thresholds, decay = KINDS[kind]
    if kind.startswith("parametric"):
        decay = torch.sigmoid(layer(kind).learned["leak"].detach()).item()
    steps, levels = range(SHAPE[0]), range(len(thresholds))
    at = distances(kind, current)
    # the gain of the dynamics on the current of each step, by which alone they differ here
    # or through the threshold of the same step
    gain = torch.tensor([1 + 0.1 * t if kind == "mixed" else 1 for t in steps], dtype=torch.float64)
    gain = gain * (1 - 0.25) if kind.startswith("talif") else gain
    gain = gain.view(-1, 1, 1, 1, 1)
    each = torch.stack([sum(weights[t] * torch.relu(1 - at[t, k].abs()) for k in levels) for t in steps])
    fired = sum((max_over(at, steps, k) >= 0).double() / thresholds[k] for k in levels)
    equations = {
        "hart": (each * gain).mean(0).expand_as(current),
        "bptr": fired * weights * gain,
    }
    if decay is not None:
        slope = sum(rate_slope(current, threshold, decay) for threshold in thresholds)
        equations["ratebased"] = (slope * weights * gain).mean(0).expand_as(current)
    for name, equation in equations.items():
        check(differentiated(layer(kind, name), current, weights)[1], equation, 1e-11)


@EACH
def test_spread_of_the_membranes(kind):
    current, weights = drawn(*SHAPE)
    at, slopes = distances(kind, current), {}
    for k in range(len(KINDS[kind][1])):
        slopes[k] = pdsg_slopes([at[t, k] for t in range(SHAPE[0])], 0.0)
    reference = expected(kind, current, weights, lambda t, k, _: slopes[k][t])
    check(differentiated(layer(kind, "pdsg"), current, weights)[1], reference[1], 1e-10)


@EACH
def test_memory_moves_on_with_every_gradient(kind):
    model, reference = layer(kind), Sharpness()
    gradients = []
    with surrogate_gradient(model, "assg"):
        for step in range(3):
            current, weights = drawn(*SHAPE, seed=step)
            gradients.append(differentiated(model, current, weights)[1])
            slopes = {}

            def slope(t, k, distance, slopes=slopes):
                return slopes.setdefault((t, k), reference.slope((t, k), distance))

            check(gradients[-1], expected(kind, current, weights, slope)[1], 1e-11)
        again = differentiated(model, *drawn(*SHAPE, seed=0))[1]
    assert not torch.equal(again, gradients[0])
    assert model.memory is None


class Twofold(nn.Module):
    """Direct coding for two steps."""

    def forward(self, images):
        return torch.cat([images] * 2)


@pytest.mark.parametrize("kind", [*KINDS, "fused"])
def test_everything_that_looks_for_neurons_finds_them(kind):
    torch.manual_seed(0)
    neurons = MultiLevelFiring(time_steps=2) if kind == "fused" else SpikingNeuron(kind, "atan", 2, 6)
    model = nn.Sequential(Twofold(), nn.Conv2d(3, 6, 3, padding=1), neurons, nn.Conv2d(6, 4, 3)).eval()
    images = torch.rand(5, 3, 6, 6)
    if neurons.sized:
        size_neurons(model, images[:1])
    assert spiking_neurons(model) == [neurons]
    results = []
    for surrogate in ("rectangle", "triangle(width=3)", "hart"):
        with surrogate_gradient(model, surrogate):
            leaf = images.clone().requires_grad_()
            outputs = model(leaf)
            results.append((outputs.detach(), *torch.autograd.grad(outputs.sum(), leaf)))
            assert accepts(model, surrogate) and 0 < membrane_census(model, images)["2"].in_window <= 1
    assert all(torch.equal(outputs, results[0][0]) for outputs, _ in results)
    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert not torch.equal(results[one][1], results[other][1])
    census = membrane_census(model, images)["2"]
    spikes = model[:3](images)
    assert census.rate == pytest.approx(spikes.mean().item() / neurons.levels)
    second = energy(model, images).layers[1]
    assert second.spiking and second.spikes == pytest.approx(spikes.mean().item())


@EACH
def test_a_sequence_in_two_parts_is_the_whole_sequence(kind):
    model = layer(kind)
    if kind == "mixed" or model.sized:
        pytest.skip("counts its steps from the call")
    current, weights = drawn(6, 2, 3, 4, 5)
    settings = {"dynamics": model.dynamics, "surrogate": parse_surrogate("atan"), "tensors": model.tensors()}
    leaf, other = (current.clone().requires_grad_() for _ in range(2))
    whole, _ = fire_dynamics(leaf, **settings)
    first, state = fire_dynamics(other[:2], **settings, state=())
    second, _ = fire_dynamics(other[2:], **settings, state=state)
    assert torch.equal(torch.cat((first, second)), whole)
    (one,) = torch.autograd.grad((whole * weights).sum(), leaf)
    (two,) = torch.autograd.grad((torch.cat((first, second)) * weights).sum(), other)
    torch.testing.assert_close(one, two, atol=1e-12, rtol=1e-12)


@pytest.mark.parametrize("surrogate", ["rectangle", "atan", "assg", "pdsg", "hart", "ratebased", "bptr"])
def test_multi_level_firing_is_the_same_through_the_loop_and_fused(surrogate):
    current, weights = drawn(*SHAPE)
    found = []
    for function in (
        lambda x: multi_level_firing(x, surrogate=parse_surrogate(surrogate)),
        lambda x: fire_dynamics(x, MLF(), parse_surrogate(surrogate))[0],
    ):
        leaf = current.clone().requires_grad_()
        spikes = function(leaf)
        found.append((spikes.detach(), *torch.autograd.grad((spikes * weights).sum(), leaf)))
    assert torch.equal(found[0][0], found[1][0])
    torch.testing.assert_close(found[0][1], found[1][1], atol=1e-11, rtol=1e-11)


def test_noise_follows_the_seed():
    model, (current, _) = layer("mixed(noise=0.5)"), drawn(*SHAPE)
    runs = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        runs.append(model(current))
    assert torch.equal(runs[0], runs[1]) and not torch.equal(runs[0], runs[2])


def test_learned_parameters_train_and_travel_in_the_state(tmp_path):
    model = layer("adaptivelif(rise=0.4, learned=true)", "atan")
    assert list(model.state_dict()) == ["learned.rise"] and not list(layer("adaptivelif").parameters())
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    current, _ = drawn(*SHAPE)
    before = model(current).mean()
    for _ in range(5):
        optimiser.zero_grad()
        (-model(current).mean()).backward()
        optimiser.step()
    # more spikes are wanted, so that the threshold rises less
    assert model.learned["rise"] < 0.4 and model(current).mean() >= before
    twin = copy.deepcopy(layer("adaptivelif(rise=0.4, learned=true)"))
    twin.load_state_dict(model.state_dict())
    assert torch.equal(twin(current), model(current))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("adaptivelfi", "did you mean 'adaptivelif'"),
        ("adaptivelif(rise=-1)", "rise must be finite and at least 0"),
        ("adaptivelif(decay=2)", r"decay must be in \[0, 1\]"),
        ("adaptivelif(learned=maybe)", "learned must be true or false, got 'maybe'"),
        ("mlf(thresholds=[2, 1])", "ascending"),
        ("mlf(thresholds=[2, x])", "thresholds must be a number"),
        ("parametriclif(leak=1)", "unknown setting of dynamics parametriclif 'leak'"),
    ],
)
def test_refuses(text, message):
    with pytest.raises(InputError, match=message):
        parse_dynamics(text)


@pytest.mark.parametrize("kind", KINDS)
def test_written_form_reads_back(kind):
    assert parse_dynamics(str(parse_dynamics(kind))) == parse_dynamics(kind)
    assert parse_dynamics("mlf(thresholds=[0.123456789], decay=0)") == MLF((0.123456789,), 0.0)
    assert "0.123456789" in str(MLF((0.123456789,)))


def test_a_name_belongs_to_one_class():
    with pytest.raises(ValueError, match="dynamics 'mlf' is registered twice"):
        type("MLF", (Dynamics,), {})
