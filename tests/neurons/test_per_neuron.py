"""Dynamics with values of every single neuron: StepLIF and TALIF, alone and in a network."""

import contextlib
import copy

import pytest
import torch
from torch.nn import functional

from purespike.errors import InputError
from purespike.models import Purifier, create, load, save
from purespike.models.complexity import complexity
from purespike.neurons import (
    LIF,
    RESETS,
    SpikingNeuron,
    accepts,
    fire_dynamics,
    membrane_census,
    parse_dynamics,
    spiking_neurons,
    surrogate_gradient,
)
from purespike.recipe import parse_recipe

from .reference import SLOPES, Spike, drawn
from .tiers import everything_compiled, needs_compiler, no_fallback

KINDS = ("steplif(decay=0.5)", "talif(decay=0.5)")
EACH = pytest.mark.parametrize("kind", KINDS)
SHAPE = (4, 2, 3, 4, 5)


def layer(text, surrogate="rectangle", reset="attached"):
    neurons = SpikingNeuron(text, surrogate, reset=reset)
    neurons.size(SHAPE[0], SHAPE[2:])
    return neurons


def network(text=None, **settings):
    torch.manual_seed(0)
    own = {} if text is None else {"dynamics": text}
    return create("resnet14_snn", width=1 / 16, time_steps=3, **{"image_size": (8, 8), **own, **settings})


def membranes(current, decay, threshold=1.0):
    """Pre-reset membranes of plain LIF neurons."""
    membrane, found = torch.zeros_like(current[0]), []
    for x in current:
        membrane = decay * membrane * (membrane < threshold) + x
        found.append(membrane)
    return torch.stack(found)


@pytest.mark.parametrize("decay", [0.0, 0.25, 0.8, 1.0])
@pytest.mark.parametrize("kind", ["steplif(decay={})", "talif(decay={}, rise=0)"])
def test_without_values_of_their_own_they_are_leaky_integrate_and_fire(kind, decay):
    for shape in (SHAPE[1:], (60, 5)):  # after a convolution, and after a linear layer
        current = 2 * torch.randn(8, *shape)
        own = SpikingNeuron(kind.format(decay))
        own.size(8, shape[1:])
        spikes = own(current)
        assert torch.equal(spikes, LIF(1.0, decay)(current)) and 0.1 < spikes.mean() < 0.9


def test_the_leak_of_the_first_step_does_nothing():
    neurons = layer("steplif", "atan")
    neurons(torch.rand(*SHAPE)).sum().backward()
    gradient = neurons.learned["leak"].grad
    assert gradient.shape == (SHAPE[0], *SHAPE[2:])
    assert not gradient[0].any() and all(step.any() for step in gradient[1:])


def test_a_usual_membrane_leaves_the_threshold_where_it_is():
    """So the spikes are those of plain neurons; a stronger current raises it, another image does not."""
    current, decay = torch.randn(*SHAPE[:1], 1, *SHAPE[2:]).double(), 0.5
    neurons = layer(f"talif(decay={decay})").double()
    neurons.recorded.trace.copy_(membranes(current, decay)[:, 0])
    plain = LIF(1.0, decay)(current)
    assert torch.equal(neurons(current), plain)

    def threshold(x):
        return fire_dynamics(x, neurons.dynamics, neurons.surrogate, tensors=neurons.tensors(), state=())[1][
            1
        ]

    assert torch.equal(threshold(current), torch.ones_like(threshold(current)))
    assert (threshold(current.clamp(max=0.3) + 0.1) > threshold(current.clamp(max=0.3))).all()
    torch.testing.assert_close(neurons(torch.cat([current, 2 * current], 1))[:, :1], plain, rtol=0, atol=0)


@pytest.mark.parametrize("reset", RESETS)
def test_the_blind_derivative_is_that_of_a_threshold_at_rest(reset):
    """The spikes are the same, the gradient is that of a loop whose derivative is taken at V."""
    current, weights = drawn(*SHAPE)
    trace = torch.rand(SHAPE[0], *SHAPE[2:], dtype=torch.float64)
    found = {}
    for blind in ("true", "false"):
        neurons = layer(f"talif(decay=0.3, blind={blind})", "atan", reset).double()
        neurons.recorded.trace.copy_(trace)
        leaf = current.clone().requires_grad_()
        spikes = neurons(leaf)
        found[blind] = spikes.detach(), torch.autograd.grad((spikes * weights).sum(), leaf)[0]
    leaf, counts = current.clone().requires_grad_(), []
    membrane, fired, threshold = torch.zeros(()), torch.zeros(()), 1.0
    for x, usual in zip(leaf, trace, strict=True):
        membrane = 0.3 * membrane * (1 - (fired if reset == "attached" else fired.detach())) + x
        threshold = threshold + 0.2 * (membrane - usual).detach()
        static = Spike.apply(membrane - 1, SLOPES["atan(alpha=2)"])
        fired = (membrane.detach() >= threshold).double() + static - static.detach()
        counts.append(fired)
    (expected,) = torch.autograd.grad((torch.stack(counts) * weights).sum(), leaf)
    assert torch.equal(found["true"][0], found["false"][0])
    assert torch.equal(found["true"][0], torch.stack(counts).detach())
    torch.testing.assert_close(found["true"][1], expected, atol=1e-12, rtol=1e-12)
    assert (found["false"][1] - expected).abs().max() > 0.01


@pytest.mark.parametrize("surrogate", [None, "atan(alpha=2)", "triangle(width=1)"])
@pytest.mark.parametrize("reset", [None, "attached", "detached"])
def test_who_exchanges_the_derivative_takes_it_whole(surrogate, reset):
    """An attacker with the neurons' own surrogate has their own gradient, blind as it is."""
    current, weights = drawn(*SHAPE)
    neurons = {blind: layer(f"talif(decay=0.3, blind={blind})", "atan").double() for blind in (True, False)}
    found = {}
    for blind, each in neurons.items():
        each.recorded.trace.fill_(0.4)
        leaf = current.clone().requires_grad_()
        chosen = surrogate is not None or reset is not None
        with surrogate_gradient(each, surrogate, reset=reset) if chosen else contextlib.nullcontext():
            spikes = each(leaf)
        found[blind] = spikes.detach(), torch.autograd.grad((spikes * weights).sum(), leaf)[0]
        assert each.dynamics.blind == blind
    own = surrogate in (None, "atan(alpha=2)")
    assert torch.equal(found[True][0], found[False][0])
    assert torch.equal(found[True][1], found[False][1]) != own


def test_the_whole_gradient_points_where_the_loss_rises():
    """Nearer to that by differences along random directions (SPSA) than the blind one."""
    torch.manual_seed(0)
    current = 1.5 * torch.rand(5, 400, 1, 2, 2, dtype=torch.float64)
    weights = torch.rand(5, 1, 1, 2, 2, dtype=torch.float64)

    def gradient(blind):
        neurons = SpikingNeuron(f"talif(rise=0.5, blind={blind})", "triangle(width=1)")
        neurons.size(5, (1, 2, 2))
        neurons.double().recorded.trace.copy_(membranes(current, 0.8).mean(1))
        leaf = current.clone().requires_grad_()
        return torch.autograd.grad((neurons(leaf) * weights).sum(), leaf)[0].sum(1).flatten(), neurons

    exact, neurons = gradient("false")
    blind, _ = gradient("true")
    estimate, size = torch.zeros_like(exact), 0.1
    for _ in range(200):
        direction = torch.randint(0, 2, exact.shape).double() * 2 - 1
        moved = size * direction.view(5, 1, 1, 2, 2)
        with torch.no_grad():
            difference = ((neurons(current + moved) - neurons(current - moved)) * weights).sum()
        estimate += difference / (2 * size) * direction
    cosine = [functional.cosine_similarity(each, estimate, dim=0).item() for each in (exact, blind)]
    assert cosine[0] > 0.85 and cosine[1] < 0.5


@EACH
def test_a_network_of_them_is_saved_counted_and_examined(kind, tmp_path):
    model, images = network(kind), torch.rand(2, 3, 8, 8)
    plain = network(thresholds=(1.0,))
    single = [value for name, value in model.named_parameters() if ".learned." in name]
    shapes = {tuple(value.shape[-3:]) for value in single}
    assert shapes == {(4, 8, 8), (8, 4, 4), (16, 2, 2)}
    more = sum(value.numel() for value in single)
    assert complexity(model, 8).parameters == complexity(plain, 8).parameters + more
    # the weights are drawn as without them
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in plain.state_dict().items())
    with torch.no_grad():
        for name, value in model.state_dict().items():
            if ".learned." in name or ".recorded." in name:
                value.copy_(0.3 * torch.rand_like(value))
    for _ in range(10):  # running statistics, without which no neuron fires
        model(torch.rand(4, 3, 8, 8))
    model.eval()
    save(model, tmp_path / "model.safetensors")
    loaded = load(tmp_path / "model.safetensors")
    assert loaded.config["image_size"] == [8, 8]
    assert torch.equal(loaded(images), model(images)) and torch.equal(
        copy.deepcopy(model)(images), model(images)
    )
    gradients = []
    for surrogate in ("rectangle", "triangle(width=3)", "assg", "pdsg", "hart"):
        with surrogate_gradient(model, surrogate):
            leaf = images.clone().requires_grad_()
            logits = model(leaf)
            gradients.append(torch.autograd.grad(logits[:, 0].sum(), leaf)[0])
            assert torch.equal(logits, loaded(images)) and len(membrane_census(model, images)) == 15
    assert all(one.isfinite().all() and one.any() for one in gradients)
    assert not any(torch.equal(a, b) for i, a in enumerate(gradients) for b in gradients[:i])
    assert accepts(model, "ratebased") == kind.startswith("talif")


@EACH
def test_another_size_is_one_line(kind):
    model = network(kind)
    with pytest.raises(InputError, match="the model is made for 8×8 pixels alone, got \\[1, 3, 16, 16\\]"):
        model(torch.rand(1, 3, 16, 16))
    neurons = spiking_neurons(model)[0]
    with pytest.raises(InputError, match="every neuron has values of its own, for \\[3, 4, 8, 8\\]"):
        neurons(torch.rand(3, 4, 4, 4))
    with pytest.raises(InputError, match="image_size: needed"):
        create("resnet14_snn", dynamics=kind)
    with pytest.raises(InputError, match="image_size: must be height and width"):
        network(kind, image_size=(8,))
    with pytest.raises(InputError, match="for no size yet"):
        SpikingNeuron(kind)(torch.rand(*SHAPE))
    with pytest.raises(InputError, match="a purifier takes images of any size"):
        Purifier(dynamics=kind)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("talif(rise=-1)", "rise must be finite and at least 0"),
        ("talif(blind=2)", "blind must be true or false"),
        ("steplif(decay=2)", r"decay must be in \[0, 1\]"),
        ("steplif(threshold=0)", "threshold must be positive"),
        ("steplif(leak=1)", "unknown setting of dynamics steplif 'leak'"),
    ],
)
def test_refuses(text, message):
    with pytest.raises(InputError, match=message):
        parse_dynamics(text)


def test_a_recipe_names_them():
    recipe = parse_recipe({"classifier": {"dynamics": "steplif", "gates": "neuron"}}).classifier
    assert recipe.neurons() == {
        "time_steps": 4,
        "dynamics": "steplif",
        "surrogate": "rectangle(width=1)",
        "gates": "neuron",
    }
    assert "gates" not in parse_recipe({}).classifier.neurons()


@needs_compiler
def test_equals_the_eager_loop_compiled(monkeypatch):
    neurons, current = layer("talif", "atan"), torch.randn(*SHAPE)
    weights, found = torch.rand(*SHAPE), []
    for compiled in (False, True):
        if compiled:
            everything_compiled(monkeypatch)
        leaf = current.clone().requires_grad_()
        with no_fallback():
            spikes = neurons(leaf)
            gradients = torch.autograd.grad((spikes * weights).sum(), [leaf, *neurons.parameters()])
        found.append((spikes.detach(), *gradients))
    assert torch.equal(found[0][0], found[1][0])
    for one, other in zip(found[0][1:], found[1][1:], strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)
