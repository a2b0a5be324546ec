"""Codings against what their docstrings say, alone and in a classifier."""

from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch

from purespike.errors import InputError
from purespike.models import create, load, save
from purespike.models.coding import Coding, Direct, Poisson, parse_coding
from purespike.models.complexity import complexity
from purespike.neurons import spiking_neurons

SETTINGS = {"num_classes": 4, "width": 1 / 16, "time_steps": 3}


def images(count=2, size=8, seed=0):
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(seed))


@dataclass(frozen=True)
class Quartered(Coding):
    """Four channels of half the size per channel, another shift at each step."""

    def channels(self, in_channels):
        return 4 * in_channels

    def encode(self, images, time_steps):
        frames = torch.nn.functional.pixel_unshuffle(images, 2)
        return torch.cat([frames.roll(t, 1) for t in range(time_steps)])


def test_direct_coding_computes_the_stem_once_and_changes_nothing():
    torch.manual_seed(0)
    model = create("resnet14_snn", **SETTINGS).eval()
    calls = []
    model.stem.register_forward_hook(lambda *_: calls.append(1))
    current = model.stem(model.normalise(images()))
    expected = model.readout(model.body(torch.cat([current] * 3)).mean((2, 3)).unflatten(0, (3, 2)).mean(0))
    calls.clear()
    assert torch.equal(model(images()), expected) and len(calls) == 1
    assert model.coding == Direct() and "coding" not in model.config
    stem = complexity(model, 8).layers[0]
    assert (stem.name, stem.steps) == ("stem.0", 1)


def test_poisson_frames_have_the_pixels_for_their_rates():
    pixels = torch.linspace(-0.1, 1.1, 7).view(1, 1, 1, 7)
    torch.manual_seed(0)
    frames = Poisson().encode(pixels, 4000)
    assert frames.unique().tolist() == [0, 1] and frames.shape == (4000, 1, 1, 7)
    # 5 standard deviations of a mean of 4000 draws
    torch.testing.assert_close(frames.mean(0), pixels[0].clamp(0, 1), atol=0.04, rtol=0)


def test_poisson_follows_the_seed_and_no_memory_format():
    frames = []
    for seed, given in ((1, images()), (1, images().to(memory_format=torch.channels_last)), (2, images())):
        torch.manual_seed(seed)
        frames.append(Poisson().encode(given, 3))
    assert torch.equal(frames[0], frames[1]) and not torch.equal(frames[0], frames[2])
    assert frames[1].is_contiguous(memory_format=torch.channels_last)
    assert not torch.equal(*frames[0][:4].split(2))


def test_the_gradient_of_a_pixel_is_the_sum_over_its_frames():
    leaf, weights = (images() * 2 - 0.5).requires_grad_(), torch.rand(6, 3, 8, 8)
    (gradient,) = torch.autograd.grad((Poisson().encode(leaf, 3) * weights).sum(), leaf)
    torch.testing.assert_close(gradient, weights.unflatten(0, (3, 2)).sum(0))


def test_a_classifier_with_poisson_coding_is_stochastic_and_travels(tmp_path):
    torch.manual_seed(0)
    model = create("resnet14_snn", coding="poisson", **SETTINGS)
    for seed in range(20):
        # statistics of the norms with which all layers fire
        model(images(16, seed=seed))
    model.eval()
    outputs = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        outputs.append(model(images()))
    assert torch.equal(outputs[0], outputs[1]) and not torch.equal(outputs[0], outputs[2])
    assert complexity(model, 8).layers[0].steps == 3
    save(model, tmp_path / "model.safetensors")
    again = load(tmp_path / "model.safetensors")
    torch.manual_seed(1)
    assert again.coding == Poisson() and torch.equal(again(images()), outputs[0])
    leaf = images().requires_grad_()
    assert torch.autograd.grad(model(leaf)[:, 0].sum(), leaf)[0].abs().max() > 0


@pytest.mark.parametrize("name", ["resnet14_snn", "senet18_snn", "wideresnet16_8_snn"])
def test_frames_may_have_other_channels_and_sizes(name):
    model = create(name, coding="quartered", **SETTINGS).eval()
    sizes = []
    spiking_neurons(model)[0].register_forward_hook(lambda _, given, out: sizes.append(given[0].shape))
    assert model(images()).shape == (2, 4)
    assert sizes[0][0] == 6 and sizes[0][2:] == (4, 4)
    assert model.normalise.mean.flatten().tolist() == [0.0] * 12
    with pytest.raises(InputError, match=r"takes \[N, 3, H, W\]"):
        model(images()[:, :1])


@dataclass(frozen=True)
class Short(Coding):
    constant: ClassVar[bool] = False

    def encode(self, images, time_steps):
        return images


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("dirct", "unknown coding 'dirct': did you mean 'direct'"),
        ("poisson(rate=1)", "setting of coding poisson"),
    ],
)
def test_refuses(text, message):
    with pytest.raises(InputError, match=message):
        create("resnet14_snn", coding=text, **SETTINGS)


def test_a_coding_with_too_few_frames_is_named():
    with pytest.raises(InputError, match="coding short: gives 2 frames for 2 images, not 6"):
        create("resnet14_snn", coding="short", **SETTINGS)(images())
    assert parse_coding("short") == Short()
