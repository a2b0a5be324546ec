"""Membranes of a step's forward; penalties on them: distance from the threshold (TGO), overlap (MPD-SGR)."""

import copy
import math

import pytest
import torch
from torch import nn

from purespike import InputError
from purespike.models import create
from purespike.neurons import (
    SpikingNeuron,
    membrane_census,
    parse_surrogate,
    spiking_neurons,
    surrogate_gradient,
)
from purespike.training.objectives import Batch, View, create_objective
from purespike.training.objectives.layers import Layer, recording
from purespike.training.objectives.overlap import MOMENTS, Overlap, half_width
from purespike.training.objectives.overlap import inside as inside_of
from purespike.training.objectives.threshold_distance import ThresholdDistance
from training import parts  # noqa: F401
from training.stops import assert_same, train
from training.tiny import history, recipe

SHAPE = (4, 2, 3, 4, 5)
KINDS = (
    "mlf(thresholds=[0.6])",
    "mlf(thresholds=[0.6, 1.6, 2.6])",
    "adaptivelif(rise=0.4, learned=true)",
    "parametriclif",
    "noisylif(noise=0.3)",
    "dlif(steps=4)",
)
PENALTIES = ("threshold_distance", "overlap")


def current(*shape, seed=0):
    return torch.randn(shape or SHAPE, generator=torch.Generator().manual_seed(seed)).double() + 0.5


def layer_of(kind, x, surrogate="atan", reset="attached", drawn=None):
    neurons = SpikingNeuron(kind, surrogate, reset=reset).double()
    return Layer("here", neurons, x, neurons(x), drawn or {})


def inside(distances, window):
    """Ω of distances ``[T, K, ..., C]``."""
    return inside_of(MOMENTS.of([step.unbind(0) for step in distances.flatten(2, -2).unbind(0)]), window)


def view_of(*layers, progress=1.0):
    batch = Batch(nn.Identity(), torch.zeros(1), torch.zeros(1), progress=progress)
    return View(batch, torch.zeros(1), None, layers)


@pytest.fixture
def spiking():
    torch.manual_seed(0)
    return create("resnet14_snn", width=0.05, time_steps=2).train()


@pytest.fixture
def shown():
    return torch.rand((4, 3, 8, 8), generator=torch.Generator().manual_seed(1)), torch.arange(4)


# ---- the membranes


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [SHAPE, (4, 3, 5), (4, 6)], ids=["images", "features", "neurons"])
def test_they_are_those_that_fired(kind, shape):
    """Of a recorded forward, noise and all: at least 0 exactly where there was a spike."""
    if len(shape) == 2 and "learned" in kind:
        pytest.skip("has channels")
    model = nn.Sequential(SpikingNeuron(kind, channels=3).double())
    with recording(model) as layers:
        model(current(*shape))
    distances = layers[0].distances()
    channels = shape[2] if len(shape) > 2 else 1
    assert distances.shape[:3] == (4, layers[0].neurons.levels, shape[1]) and distances.shape[-1] == channels
    fired = (distances >= 0).sum(1).double()
    spikes = layers[0].spikes
    assert torch.equal(fired, spikes.movedim(2, -1) if len(shape) > 2 else spikes[..., None])
    assert 0 < fired.mean() < layers[0].neurons.levels


def test_their_values_and_gradients_are_those_of_a_plain_loop():
    for reset in ("attached", "detached"):
        leaf, other = (current(3, 2).requires_grad_() for _ in range(2))
        found = layer_of("mlf(thresholds=[0.6], decay=0.5)", leaf, "triangle(width=2)", reset).distances()
        kept, distances = 0.0, []
        for x in other:
            u = 0.5 * kept + x
            slope = torch.relu(2 - (u - 0.6).abs()).detach() / 4 * (reset == "attached")
            o = (u >= 0.6).double() + slope * (u - u.detach())
            kept, _ = u * (1 - o), distances.append(u - 0.6)
        expected = torch.stack(distances)
        torch.testing.assert_close(found.view(3, 2), expected)
        weights = current(3, 2, seed=5)
        one, two = (
            torch.autograd.grad((weights * each).sum(), x)[0]
            for each, x in ((found.view(3, 2), leaf), (expected, other))
        )
        torch.testing.assert_close(one, two)


@pytest.mark.parametrize("kind", ["noisylif(noise=0.5)", "mlf(thresholds=[0.6])"])
def test_recording_draws_nothing_of_its_own(kind):
    """Spikes and the generator are those without it; the noise of a set of images is its own."""
    model, x = nn.Sequential(SpikingNeuron(kind).double()), current()
    torch.manual_seed(2)
    plain = model(x), torch.rand(1)
    torch.manual_seed(2)
    with recording(model) as layers:
        watched = model(x)
    assert torch.equal(watched, plain[0]) and torch.equal(torch.rand(1), plain[1])
    for (part,), rows in zip(layers.split([1, 1]), (slice(0, 1), slice(1, 2)), strict=True):
        assert torch.equal((part.distances() >= 0).sum(1), plain[0][:, rows].movedim(2, -1).long())


def test_what_the_dynamics_learn_gets_a_gradient():
    part = layer_of("dlif(steps=4)", current())
    part.distances().sum().backward()
    assert part.neurons.learned["gain"].grad.abs().min() > 0


@pytest.mark.parametrize("name", [*PENALTIES, "membrane_difference"])
def test_a_network_without_spiking_neurons_is_one_line(name):
    bare = nn.Sequential(nn.Flatten(), nn.Linear(12, 4))
    for model, message in (
        (bare, "needs layers of purespike's neurons"),
        (nn.Sequential(bare, SpikingNeuron("relu", time_steps=1)), "needs membranes with thresholds"),
    ):
        with pytest.raises(InputError, match=f"^{name}: {message}") as error:
            list(create_objective(name).steps(Batch(model, torch.rand(2, 3, 2, 2), torch.arange(2))))
        assert "\n" not in str(error.value)


# ---- both penalties


@pytest.mark.parametrize("name", PENALTIES)
@pytest.mark.parametrize("base", ["none", "trades"])
def test_they_train_every_layer_on_top_of_any_objective(spiking, shown, name, base):
    (step,) = create_objective([base, name]).steps(Batch(spiking, *shown, progress=0.5))
    (plain,) = create_objective(base).steps(Batch(copy.deepcopy(spiking), *shown))
    assert step.terms[name] > 0 and step.passes == plain.passes
    step.loss.backward()
    for module in spiking.modules():
        for parameter in module.parameters(recurse=False):
            assert parameter.grad.isfinite().all()
    penalised = spiking.stem[1].weight.grad, spiking.stem[1].bias.grad
    assert all(gradient.abs().max() > 0 for gradient in penalised)


@pytest.mark.parametrize("name", PENALTIES)
def test_their_gradient_reaches_the_norms_before_the_neurons(name):
    """Weight and bias, which steer spread and mean of the membranes."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.BatchNorm2d(3), SpikingNeuron("mlf(thresholds=[0.6])", "triangle", 4)).double()
    with recording(model) as layers:
        model(current(8, 3, 4, 5))
    penalty = create_objective(name).penalties[0][1]
    penalty(view_of(*layers)).backward()
    assert model[0].weight.grad.abs().max() > 0 and model[0].bias.grad.abs().max() > 0


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", PENALTIES)
def test_what_the_forward_left_is_what_would_be_computed_again(name, kind):
    """Value and gradients, of all images and of some of them."""
    model = nn.Sequential(SpikingNeuron(kind, "atan", channels=3).double())
    penalty, found, neurons = create_objective(name).penalties[0][1], [], model[0]
    for statistics in ((), penalty.statistics):
        torch.manual_seed(3)
        leaf = current().requires_grad_()
        with recording(model, statistics=statistics) as layers:
            loss = model(leaf).sum()
        assert bool(layers[0].seen) == (statistics != () and neurons.dynamics.kernel is not None)
        assert neurons.drawn is None and not neurons.watched and not neurons.seen
        for layer in (layers[0], layers[0].of(1, 1)):
            value = penalty(view_of(layer))
            weights = [leaf, *model.parameters()]
            found.append((value, *torch.autograd.grad(loss + value, weights, retain_graph=True)))
    for one, other in zip(found[:2], found[2:], strict=True):
        assert one[1].abs().max() > 0
        for value, expected in zip(one, other, strict=True):
            torch.testing.assert_close(value, expected)


@pytest.mark.parametrize("name", PENALTIES)
def test_surrogates_give_different_finite_gradients(spiking, shown, name):
    found = []
    for surrogate in ("rectangle", "triangle(width=3)"):
        with surrogate_gradient(spiking, surrogate):
            (step,) = create_objective({"name": name, "weight": 3.0}).steps(
                Batch(spiking, *shown, progress=1.0)
            )
            found.append(torch.autograd.grad(step.loss, list(spiking.parameters())))
    assert all(gradient.isfinite().all() for each in found for gradient in each)
    assert found[0][0].abs().max() > 0 and not torch.equal(found[0][0], found[1][0])


@pytest.mark.parametrize("name", PENALTIES)
def test_repeating_the_images_changes_nothing(name):
    penalty = create_objective(name).penalties[0][1]
    x = current()
    once, twice = (penalty(view_of(layer_of("mlf", each))) for each in (x, torch.cat([x, x], 1)))
    torch.testing.assert_close(once, twice)


# ---- the distance


def test_the_shortfall_is_its_formula():
    """Summed over layers; of several thresholds the nearest, each with a membrane of its own."""
    xs, expected, margin = (current(), current(3, 2, seed=4)), 0.0, 0.4
    for x in xs:
        nearest = torch.full(x.shape, math.inf, dtype=torch.float64)
        for threshold in (0.6, 1.6, 2.6):
            u, fired = torch.zeros_like(x[0]), torch.zeros_like(x[0])
            for t in range(len(x)):
                u = 0.25 * u * (1 - fired) + x[t]
                fired = (u >= threshold).double()
                nearest[t] = torch.minimum(nearest[t], (u - threshold).abs())
        expected += (margin - nearest).clamp(min=0).mean().item()
    found = ThresholdDistance(margin=margin)(view_of(*(layer_of("mlf", x) for x in xs)))
    assert found.item() == pytest.approx(expected, rel=1e-12) and expected > 0


def test_margins_reached_and_margins_of_0_cost_nothing():
    x = current()
    assert ThresholdDistance(margin=0)(view_of(layer_of("mlf", x))) == 0
    away = torch.where(x > 0, 1.0, -0.5)[:1]
    assert ThresholdDistance(margin=0.3)(view_of(layer_of("mlf(thresholds=[0.6])", away))) == 0
    at = torch.full_like(away, 0.6)
    twice = view_of(*[layer_of("mlf(thresholds=[0.6])", at)] * 2)
    assert ThresholdDistance(margin=0.3)(twice).item() == pytest.approx(2 * 0.3), "δ of each layer"


def test_it_pushes_away_from_the_threshold_on_both_sides_and_not_beyond_the_margin():
    x = torch.tensor([[0.55, 0.65, 0.45, 0.75]], dtype=torch.float64).requires_grad_()
    ThresholdDistance(margin=0.1)(view_of(layer_of("mlf(thresholds=[0.6])", x))).backward()
    assert x.grad.tolist() == [[0.25, -0.25, 0, 0]], "descent moves the other way"


def test_its_weight_rises_by_a_cosine():
    x = layer_of("mlf", current())
    values = [ThresholdDistance()(view_of(x, progress=p)).item() for p in (0, 0.25, 0.5, 1)]
    shares = [value / values[-1] for value in values]
    assert shares == pytest.approx([0, (1 - math.sqrt(0.5)) / 2, 0.5, 1])
    assert ThresholdDistance(ramp="none")(view_of(x, progress=0)).item() == values[-1]


# ---- the overlap


def test_the_share_is_that_of_normal_currents():
    """The closed form against 10⁵ draws, at one step, where the membrane is the current."""
    for mean, deviation, window in ((0.1, 0.5, 0.5), (-1.2, 0.7, 0.5), (2.0, 0.6, 1.0)):
        draws = mean + deviation * torch.randn(
            1, 100_000, 1, generator=torch.Generator().manual_seed(1), dtype=torch.float64
        )
        share = inside(draws[:, None], window).item()
        counted = (draws.abs() < window).double().mean().item()
        normal = torch.distributions.Normal(mean, deviation)
        exact = (normal.cdf(torch.tensor(window)) - normal.cdf(torch.tensor(-window))).item()
        tolerance = 3 * math.sqrt(counted * (1 - counted) / 100_000)
        assert share == pytest.approx(counted, abs=tolerance) and share == pytest.approx(exact, abs=tolerance)


def test_its_limits():
    spread = torch.linspace(-1, 1, 101, dtype=torch.float64).view(1, 1, -1, 1)
    share = inside(spread, 0.5).item()
    assert 0 < share < 1
    assert inside(spread, 1e-9).item() < 1e-8
    assert inside(spread + 100, 0.5).item() == 0 == inside(spread - 100, 0.5).item()
    assert inside(spread * 1e6, 0.5).item() < 1e-5
    constant = torch.full_like(spread, 0.3).requires_grad_()
    inside(constant, 0.5).sum().backward()
    assert inside(constant, 0.5).item() == 1 and constant.grad.isfinite().all()


def test_it_is_a_mean_over_layers_steps_and_channels_and_a_sum_over_thresholds():
    layers = [layer_of("mlf", current()), layer_of("mlf", current(4, 6, 7, seed=3))]
    window, expected = torch.tensor(0.7, dtype=torch.float64), []
    for layer in layers:
        distances, shares = layer.distances(), []
        for t in range(4):
            for c in range(distances.shape[-1]):
                share = 0.0
                for k in range(3):
                    values = distances[t, k, ..., c].flatten()
                    normal = torch.distributions.Normal(values.mean(), values.std(correction=0))
                    share += (normal.cdf(window) - normal.cdf(-window)).item()
                shares.append(share)
        expected.append(sum(shares) / len(shares))
    assert Overlap(window=0.7)(view_of(*layers)).item() == pytest.approx(sum(expected) / 2, rel=1e-9)


@pytest.mark.parametrize(
    ("surrogate", "width"),
    [
        ("rectangle(width=1)", 0.5),
        ("rectangle(width=7)", 3.5),
        ("triangle(width=2)", 1.8),
        ("atan(alpha=2)", 3 / math.pi),
        ("exponential(alpha=0.5)", 2 * math.log(10)),
        ("gaussian(width=0.5)", 0.5 * math.sqrt(2 * math.log(10))),
    ],
)
def test_the_window_ends_where_the_derivative_does(surrogate, width):
    assert half_width(parse_surrogate(surrogate)) == pytest.approx(width, rel=1e-9)


@pytest.mark.parametrize("surrogate", ["straightthrough", "assg", "pdsg", "hart"])
def test_a_surrogate_without_a_window_of_its_own_is_one_line(spiking, shown, surrogate):
    for neurons in spiking_neurons(spiking):
        neurons.surrogate = parse_surrogate(surrogate)
    with pytest.raises(InputError, match=f"^overlap: surrogate {surrogate}.*; set window$") as error:
        list(create_objective("overlap").steps(Batch(spiking, *shown)))
    assert "\n" not in str(error.value)
    (step,) = create_objective({"name": "overlap", "window": 0.5}).steps(Batch(spiking, *shown))
    assert step.terms["overlap"] > 0


def test_it_agrees_with_the_census():
    """Within a few points: membranes are not quite normal."""
    torch.manual_seed(0)
    model = create("resnet14_snn", width=0.25, time_steps=2, thresholds=[0.6], surrogate="triangle(width=1)")
    images = torch.rand((16, 3, 16, 16), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        for _ in range(30):
            model.train()(images)
    census = membrane_census(model, images)
    with recording(model.eval()) as layers, torch.no_grad():
        model(images)
    assert len(layers) == len(census) > 5
    gaps = [Overlap().share(layer).item() - census[layer.name].in_window for layer in layers]
    assert max(map(abs, gaps)) < 0.06 and abs(sum(gaps) / len(gaps)) < 0.03


# ---- in a training


def test_noisy_neurons_and_penalties_stopped_end_as_never_stopped(tmp_path, monkeypatch):
    settings = {
        "architecture": "shallow_snn",
        "epochs": 2,
        "dynamics": "noisylif(noise=0.1)",
        "objective": ["threshold_distance"],
    }
    tiny, folder, whole = recipe(classifier=settings), tmp_path / "run", tmp_path / "whole"
    train(tiny, folder, monkeypatch, 4)
    train(tiny, whole, monkeypatch)
    assert_same(folder, whole)
    ramped = [row["threshold_distance"] for row in history(whole)[1:]]
    assert 0 < ramped[0] < ramped[1]


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ({"name": "threshold_distance", "margin": -1}, "threshold_distance: margin: .*got -1"),
        ({"name": "threshold_distance", "ramp": "linear"}, "threshold_distance: ramp: .*got 'linear'"),
        ({"name": "threshold_distance", "delta": 1}, "unknown setting of threshold_distance 'delta'"),
        ({"name": "overlap", "window": 0}, "overlap: window: .*got 0"),
        ({"name": "overlap", "weight": -0.5}, "overlap: weight: .*got -0.5"),
        ({"name": "overlap", "gamma": 1}, "unknown setting of overlap 'gamma'"),
    ],
)
def test_bad_settings_are_one_clear_line(part, message):
    with pytest.raises(InputError, match=message) as error:
        create_objective(part)
    assert "\n" not in str(error.value)
