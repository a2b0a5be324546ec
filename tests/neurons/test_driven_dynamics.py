"""Noise in the membrane and gains per step, against plain float64 loops; without either they are LIF."""

import pytest
import torch
from torch import nn

from purespike.errors import InputError
from purespike.neurons import (
    DLIF,
    LIF,
    NoisyLIF,
    SpikingNeuron,
    fire_dynamics,
    membrane_census,
    parse_dynamics,
    parse_surrogate,
    surrogate_gradient,
)

from .reference import SLOPES, Spike, check, drawn

SHAPE = (4, 2, 3, 4, 5)
SURROGATES = ("rectangle(width=1)", "atan(alpha=2)", "triangle(width=2.5)")


def plain(driven, surrogate, threshold=0.6, decay=0.25):
    """Spikes of a driven membrane, written out."""
    membrane, fired, spikes = 0.0, 0.0, []
    for x in driven:
        membrane = decay * membrane * (1 - fired) + x
        fired = Spike.apply(membrane - threshold, SLOPES[surrogate])
        spikes.append(fired)
    return torch.stack(spikes)


@pytest.mark.parametrize("surrogate", SURROGATES)
def test_gains_scale_the_current_of_each_step(surrogate):
    current, weights = drawn(*SHAPE)
    model = SpikingNeuron("dlif(steps=4, decay=0.9)", surrogate).double()
    gains = torch.tensor([0.5, 1.5, 1.0, 2.0], dtype=torch.float64)
    with torch.no_grad():
        model.learned["gain"].copy_(gains)
    found, expected = [], []
    for function, gain, into in (
        (model, model.learned["gain"], found),
        (None, gains.clone().requires_grad_(), expected),
    ):
        leaf = current.clone().requires_grad_()
        driven = gain.view(4, 1, 1, 1, 1) * leaf
        spikes = model(leaf) if function else plain(driven, surrogate, decay=0.9)
        into += [spikes.detach(), *torch.autograd.grad((spikes * weights).sum(), [leaf, gain])]
    assert torch.equal(found[0], expected[0]) and expected[2].abs().min() > 0
    check(found[1], expected[1], 1e-11)
    check(found[2], expected[2], 1e-11)


@pytest.mark.parametrize("surrogate", SURROGATES)
def test_noise_enters_the_membrane_once_a_step(surrogate):
    """That of the seed, drawn for every neuron and step; the gradient passes by it."""
    current, weights = drawn(*SHAPE)
    model = SpikingNeuron("noisylif(noise=0.3)", surrogate).double()
    torch.manual_seed(3)
    noise = 0.3 * torch.randn(4, 2, 4, 5, 3, dtype=torch.float64).movedim(-1, 2)
    found = []
    for function in (model, lambda leaf: plain(leaf + noise, surrogate)):
        torch.manual_seed(3)
        leaf = current.clone().requires_grad_()
        spikes = function(leaf)
        found.append((spikes.detach(), *torch.autograd.grad((spikes * weights).sum(), leaf)))
    assert torch.equal(found[0][0], found[1][0])
    check(found[0][1], found[1][1], 1e-11)
    assert not torch.equal(found[0][0], plain(current, surrogate)), "it flips spikes"


def test_noise_has_its_deviation_and_is_off_in_evaluation():
    current = torch.zeros(4, 8, 16, 16, 16)
    (noise,) = NoisyLIF(noise=0.2).drawn(current, True).values()
    assert noise.mean().abs() < 0.2 * 5 / noise.numel() ** 0.5 and noise.std() == pytest.approx(0.2, rel=0.02)
    assert NoisyLIF(noise=0.2).drawn(current, False) == {} == NoisyLIF(noise=0.0).drawn(current, True)
    assert NoisyLIF(noise=0.2, always=True).drawn(current, False)
    half = NoisyLIF(noise=0.2).drawn(current.bfloat16(), True)
    assert half["noise"].dtype == torch.float32


@pytest.mark.parametrize("kind", ["noisylif(noise=0)", "noisylif(noise=0.5)", "dlif(steps=4)"])
def test_without_noise_and_with_gains_of_1_spikes_and_gradients_are_those_of_lif(kind):
    """Bit for bit, in float32; the noisy one in evaluation mode."""
    current = torch.randn(SHAPE, generator=torch.Generator().manual_seed(0))
    layers = SpikingNeuron(kind, "atan").eval(), LIF(0.6, 0.25, "atan")
    found = []
    for layer in layers:
        leaf = current.clone().requires_grad_()
        spikes = layer(leaf)
        found.append((spikes.detach(), *torch.autograd.grad((spikes * current).sum(), leaf)))
    assert torch.equal(found[0][0], found[1][0])
    torch.testing.assert_close(found[0][1], found[1][1])
    one, other = (SpikingNeuron(each, "atan").eval() for each in (kind, "mlf(thresholds=[0.6])"))
    assert torch.equal(one(current), other(current))


@pytest.mark.parametrize("training", [False, True])
def test_behind_a_norm_neurons_without_noise_are_lif_bit_for_bit(training):
    """Both run in one pass with it; the noisy ones in evaluation mode alone."""
    found = []
    for kind in ("noisylif(noise=0)", "mlf(thresholds=[0.6])", "noisylif(noise=0.2)"):
        torch.manual_seed(0)
        norm, neurons = nn.BatchNorm2d(3).train(training), SpikingNeuron(kind, "atan", 4).train(training)
        leaf = torch.randn(8, 3, 5, 5).requires_grad_()
        spikes = neurons(leaf, norm=norm)
        found.append((spikes, *torch.autograd.grad(spikes.square().sum(), [leaf, norm.weight])))
    assert all(torch.equal(one, other) for one, other in zip(found[0], found[1], strict=True))
    assert torch.equal(found[0][0], found[2][0]) == (not training)


@pytest.mark.parametrize("kind", ["noisylif(noise=0.3)", "dlif(steps=4)"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_the_kernel_and_the_loop_agree(kind, dtype):
    """Layers run the kernel; the loop serves those that carry their membranes. Also in half precision."""
    current, weights = (each.to(dtype) for each in drawn(*SHAPE))
    layer, found = SpikingNeuron(kind, "atan", channels=3), []
    for carried in (False, True):
        layer.state = () if carried else None
        torch.manual_seed(1)
        leaf = current.clone().requires_grad_()
        spikes = layer(leaf)
        assert spikes.dtype == dtype
        found.append(
            (spikes.detach(), *torch.autograd.grad((spikes * weights).sum(), [leaf, *layer.parameters()]))
        )
    assert torch.equal(found[0][0], found[1][0])
    for one, other in zip(found[0][1:], found[1][1:], strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("kind", ["noisylif(noise=0.3)", "dlif(steps=2)"])
@pytest.mark.parametrize("training", [False, True])
def test_each_surrogate_has_a_gradient_of_its_own_and_the_same_spikes(kind, training):
    torch.manual_seed(0)
    neurons = SpikingNeuron(kind, "atan", 2, 6)

    class Twofold(nn.Module):
        def forward(self, images):
            return torch.cat([images] * 2)

    model = nn.Sequential(Twofold(), nn.Conv2d(3, 6, 3, padding=1), neurons, nn.Conv2d(6, 4, 3))
    model.train(training)
    images, results = torch.rand(5, 3, 6, 6), []
    for surrogate in ("rectangle", "triangle(width=3)", "hart", "assg"):
        with surrogate_gradient(model, surrogate):
            torch.manual_seed(1)
            leaf = images.clone().requires_grad_()
            outputs = model(leaf)
            results.append((outputs.detach(), *torch.autograd.grad(outputs.sum(), leaf)))
            assert 0 < membrane_census(model, images)["2"].in_window <= 1
    for outputs, gradient in results:
        assert torch.equal(outputs, results[0][0]) and gradient.isfinite().all() and gradient.abs().max() > 0
    assert len({gradient.sum().item() for _, gradient in results}) == len(results)


def test_noise_goes_on_in_the_parts_of_a_sequence():
    current, _ = drawn(6, 2, 3, 4, 5)
    settings = {"dynamics": NoisyLIF(noise=0.0), "surrogate": parse_surrogate("atan")}
    whole, _ = fire_dynamics(current, **settings)
    first, state = fire_dynamics(current[:2], **settings, state=())
    assert torch.equal(torch.cat((first, fire_dynamics(current[2:], **settings, state=state)[0])), whole)


def test_gains_are_of_a_number_of_steps():
    with pytest.raises(InputError, match=r"has a gain for each of 4 steps, .* has 3; write dlif\(steps=3\)"):
        SpikingNeuron("dlif")(torch.zeros(3, 2))
    assert SpikingNeuron(DLIF(steps=3))(torch.ones(3, 2)).tolist() == [[1.0, 1.0]] * 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("noisylif(noise=-1)", "noise must be finite and at least 0"),
        ("noisylif(always=perhaps)", "always must be true or false"),
        ("noisylif(threshold=0)", "threshold must be positive"),
        ("dlif(steps=0)", "steps must be finite and at least 1"),
        ("dlif(steps=2.5)", "steps must be a whole number"),
        ("dlif(decay=2)", r"decay must be in \[0, 1\]"),
        ("dliff", "did you mean 'dlif'"),
    ],
)
def test_refuses(text, message):
    with pytest.raises(InputError, match=message):
        parse_dynamics(text)


@pytest.mark.parametrize("kind", ["noisylif(noise=0.1, always=true)", "dlif(steps=8, decay=0.99)"])
def test_written_form_reads_back(kind):
    assert parse_dynamics(str(parse_dynamics(kind))) == parse_dynamics(kind)
