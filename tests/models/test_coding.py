"""Codings against what their docstrings say, alone and in a classifier."""

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
import torch

from purespike.errors import InputError
from purespike.models import create, load, save
from purespike.models.coding import Coding, Direct, Poisson, SignedPoisson, parse_coding
from purespike.models.complexity import complexity
from purespike.models.dct import DCT, YCBCR, zigzag
from purespike.models.frequency import Frequency
from purespike.neurons import spiking_neurons, surrogate_gradient

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


@pytest.mark.parametrize("coding", ["poisson", "signedpoisson", "frequency", "dct"])
def test_coded_frames_are_not_normalised(coding):
    """As in the sources: what the coding makes of black or grey is silent there, whatever the images are."""
    model = create("resnet14_snn", coding=coding, **SETTINGS, mean=[0.5, 0.4, 0.3], std=[0.2, 0.2, 0.1])
    given = images()
    assert torch.equal(model.normalise(given), given)


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


def test_signed_poisson_frames_have_the_scaled_pixels_for_their_means():
    pixels = torch.linspace(-0.1, 1.1, 9).view(1, 1, 1, 9)
    torch.manual_seed(0)
    frames = SignedPoisson().encode(pixels, 4000)
    assert frames.unique().tolist() == [-1, 0, 1]
    torch.testing.assert_close(frames.mean(0), (2 * pixels[0] - 1).clamp(-1, 1), atol=0.08, rtol=0)
    assert not (frames * (pixels - 0.5) < 0).any() and not frames[..., 4].any(), "grey is silent"
    assert (frames[..., -1] == 1).all() and (frames[..., 0] == -1).all()
    again = SignedPoisson(centre=0.25, gain=0.5).encode(pixels, 4000).mean(0)
    torch.testing.assert_close(again, 0.5 * (pixels[0] - 0.25), atol=0.05, rtol=0)


def test_the_gradient_of_signed_poisson_is_its_gain_also_where_it_is_clipped():
    leaf, weights = (images() * 2 - 0.5).requires_grad_(), torch.rand(6, 3, 8, 8)
    frames = SignedPoisson(gain=3).encode(leaf, 3)
    (gradient,) = torch.autograd.grad((frames * weights).sum(), leaf)
    torch.testing.assert_close(gradient, 3 * weights.unflatten(0, (3, 2)).sum(0))


@pytest.mark.parametrize("coding", [Poisson(), SignedPoisson()], ids=lambda coding: coding.name)
def test_many_random_frames_are_the_network_of_the_mean_image(coding):
    """Their mean through a linear stem is the stem of the image; of few frames it is not."""
    model = create("resnet14_snn", coding=coding, **SETTINGS).eval()
    given, apart = images(), []
    mean = given if coding == Poisson() else 2 * given - 1
    expected = model.stem(model.normalise(mean))
    for steps in (4, 1000):
        torch.manual_seed(0)
        current = coding.currents(given, steps, lambda frames: model.stem(model.normalise(frames)))
        apart.append((current.unflatten(0, (steps, 2)).mean(0) - expected).abs().mean())
    assert apart[1] < 0.1 * apart[0]


@pytest.mark.parametrize("coding", ["poisson", "signedpoisson"])
def test_an_evaluation_sees_that_a_model_is_stochastic(coding):
    from purespike.evaluation.inputs import is_stochastic

    torch.manual_seed(0)
    model = create("resnet14_snn", coding=coding, **SETTINGS)
    for seed in range(10):
        model(images(16, seed=seed))
    assert is_stochastic(model.eval(), images(4), 1e-6)


@pytest.mark.parametrize("coding", ["signedpoisson", "dct", "dct(spikes=false)", "frequency"])
def test_a_classifier_with_any_coding_travels_and_has_gradients_of_every_surrogate(tmp_path, coding):
    """Different ones, of the same logits."""
    torch.manual_seed(0)
    model = create("resnet14_snn", coding=coding, **SETTINGS)
    given = images(16)
    for _ in range(10):
        model(given)
    save(model.eval(), tmp_path / "model.safetensors")
    again = load(tmp_path / "model.safetensors")
    assert again.coding == model.coding == parse_coding(coding)
    found = []
    for surrogate in ("rectangle(width=1)", "atan(alpha=2)"):
        leaf = given.clone().requires_grad_()
        with surrogate_gradient(again, surrogate):
            torch.manual_seed(1)
            logits = again(leaf)
            found.append((logits.detach(), *torch.autograd.grad(logits.logsumexp(1).sum(), leaf)))
    assert torch.equal(found[0][0], found[1][0]) and not torch.allclose(found[0][1], found[1][1])
    assert all(gradient.isfinite().all() and gradient.any() for _, gradient in found)


# ---- DCT


def plain_components(image, block, stride):
    """Components of every block by its place, in the order of the zigzag, by float64 loops."""
    size = len(image)

    def q(m, i):
        scale = math.sqrt((1 if m == 0 else 2) / block)
        return scale * math.cos(math.pi / block * m * (i + 0.5))

    found = {}
    for top in range(0, size - block + 1, stride):
        for left in range(0, size - block + 1, stride):
            components = []
            for m, n in zigzag(block):
                d = sum(
                    q(m, i) * q(n, j) * image[top + i][left + j] for i in range(block) for j in range(block)
                )
                components.append([[d * q(m, i) * q(n, j) for j in range(block)] for i in range(block)])
            found[top // stride, left // stride] = components
    return found


@pytest.mark.parametrize(("block", "stride"), [(4, 2), (4, 4), (2, 1)])
def test_dct_shows_one_component_of_each_block_a_step(block, stride):
    image = images(1, 8).double()[:, :1]
    steps = block**2 + 3
    frames = DCT(block, stride, spikes=False).encode(image, steps)
    for (row, column), components in plain_components((2 * image[0, 0] - 1).tolist(), block, stride).items():
        rows, columns = slice(row * block, (row + 1) * block), slice(column * block, (column + 1) * block)
        for t in range(steps):
            expected = torch.tensor(components[t % block**2], dtype=torch.float64)
            torch.testing.assert_close(frames[t, 0, rows, columns], expected, atol=1e-12, rtol=0)


def test_dct_of_a_cycle_is_the_image_in_blocks_and_keeps_its_energy():
    image = images(2, 8).double()
    components = DCT(4, 4, spikes=False).encode(image, 16).unflatten(0, (16, 2))
    colours = torch.einsum("yc,nchw->nyhw", torch.tensor(YCBCR).double(), 2 * image - 1)
    torch.testing.assert_close(components.sum(0), colours, atol=1e-12, rtol=0)
    torch.testing.assert_close(components.square().sum((0, 3, 4)), colours.square().sum((2, 3)))
    grey = DCT(4, 2, spikes=False).encode(torch.full((1, 3, 8, 8), 0.7).double(), 16)
    torch.testing.assert_close(grey[0, 0], torch.full((12, 12), 0.4).double())
    assert grey[1:].abs().max() < 1e-12 and grey[0, 1:].abs().max() < 1e-8


def test_the_zigzag_and_the_sizes_are_those_of_the_authors():
    order = "00 01 10 20 11 02 03 12 21 30 31 22 13 23 32 33"
    assert zigzag(4) == [(int(m), int(n)) for m, n in order.split()]
    shapes = {size: DCT().encode(images(1, size), 1).shape[-1] for size in (32, 28, 16, 8)}
    assert shapes == {32: 60, 28: 52, 16: 28, 8: 12}
    assert DCT(4, 4).encode(images(1, 32), 1).shape == (1, 3, 32, 32)


def test_dct_spikes_add_up_to_the_components_and_know_no_neighbours():
    coding = DCT(low=-0.7, high=0.5)
    given = images(3)
    spikes = coding.encode(given, 48).unflatten(0, (48, 3))
    whole = DCT(spikes=False).encode(given, 48).unflatten(0, (48, 3)).sum(0)
    assert spikes.unique().tolist() == [-1, 0, 1]
    sums = 0.5 * (spikes == 1).sum(0) - 0.7 * (spikes == -1).sum(0)
    assert ((whole - sums).abs() <= 0.7 + 1e-4).all()
    assert torch.equal(coding.encode(given[:1], 48).unflatten(0, (48, 1)), spikes[:, :1])


def test_faithful_dct_takes_its_thresholds_from_the_batch():
    """Percentiles 6.5 and 93.5 of the components of a cycle, so that a frame depends on its neighbours."""
    given = images(6, size=16)
    components = DCT(stride=4, spikes=False).encode(given, 32)
    low, high = np.percentile(components[: 16 * 6].numpy(), [6.5, 93.5])
    expected = DCT(stride=4, low=float(low), high=float(high)).encode(given, 32)
    found = DCT(stride=4, faithful=True).encode(given, 32)
    # the nearest of the values takes the place of one between two
    assert (found != expected).double().mean() < 0.01
    alone = DCT(stride=4, faithful=True).encode(given[:1], 32)
    assert not torch.equal(alone, found.unflatten(0, (32, 6))[:, 0])


def test_the_gradient_of_dct_spikes_is_that_of_the_components_times_their_rate():
    weights = torch.rand(20 * 2, 3, 12, 12)
    found = []
    for coding in (DCT(low=-0.25, high=0.75), DCT(spikes=False)):
        leaf = images().requires_grad_()
        found += torch.autograd.grad((coding.encode(leaf, 20) * weights).sum(), leaf)
    assert found[0].abs().min() > 0
    torch.testing.assert_close(found[0], 2 * found[1])


# ---- frequency


def test_frequencies_are_those_of_a_plain_transform():
    """Each coefficient kept or not by its own two frequencies, by float64 matrices."""
    image, radius, size = images(1, 8).double()[0, 0], 2, 8
    place = torch.arange(size, dtype=torch.float64)
    transform = torch.exp(-2j * math.pi / size * torch.outer(place, place))
    spectrum = transform @ image.to(torch.complex128) @ transform
    signed = (place + size // 2) % size - size // 2
    kept = {
        "ours": (signed.abs() < radius),
        "faithful": (signed >= -radius) & (signed < radius),
    }
    for name, mask in kept.items():
        masked = spectrum * torch.outer(mask, mask)
        back = transform.conj() @ masked @ transform.conj() / size**2
        found = Frequency((radius,), faithful=name == "faithful").encode(image[None, None], 1)
        torch.testing.assert_close(found[0, 0], back.abs() if name == "faithful" else back.real)
        assert name == "faithful" or back.imag.abs().max() < 1e-12


@pytest.mark.parametrize(
    ("size", "steps", "radii"),
    [(32, 8, (16, 14, 12, 10, 8, 6, 4, 2)), (32, 4, (16, 14, 12, 10)), (64, 4, (32, 30, 28, 26))],
)
def test_the_default_radii_are_those_of_the_authors(size, steps, radii):
    given = images(1, size)
    frames = Frequency().encode(given, steps)
    assert torch.equal(frames, Frequency(radii).encode(given, steps))
    assert torch.equal(frames[:1], given), "the first step sees the image"
    energy = frames.square().sum((1, 2, 3))
    assert (energy.diff() < 0).all()


def test_frequency_is_linear_idempotent_and_keeps_constants():
    one, other = images(1, 9).double(), images(1, 9, seed=1).double()
    coding = Frequency((1, 2, 3))
    frames = coding.encode(one, 3)
    torch.testing.assert_close(
        coding.encode(2 * one - other, 3), 2 * frames - coding.encode(other, 3), atol=1e-12, rtol=0
    )
    again = torch.cat([Frequency((r,)).encode(frames[t : t + 1], 1) for t, r in enumerate((1, 2, 3))])
    torch.testing.assert_close(again, frames, atol=1e-12, rtol=0)
    torch.testing.assert_close(
        coding.encode(torch.full_like(one, 0.3), 3), torch.full((3, *one.shape[1:]), 0.3).double()
    )
    torch.testing.assert_close(frames[0], one[0].mean((1, 2), keepdim=True).expand(3, 9, 9))


@pytest.mark.parametrize("radius", [8, 2])
def test_frequency_keeps_the_share_of_white_noise_that_its_square_has(radius):
    noise = torch.randn(64, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    power = Frequency((radius,)).encode(noise, 1).square().mean() / noise.square().mean()
    assert power == pytest.approx((2 * radius - 1) ** 2 / 1024, rel=0.05)
    theirs = Frequency((radius,), faithful=True).encode(noise, 1).square().mean() / noise.square().mean()
    assert theirs == pytest.approx((2 * radius) ** 2 / 1024, rel=0.05)


def test_frequencies_all_kept_are_direct_coding():
    torch.manual_seed(0)
    direct = create("resnet14_snn", **SETTINGS).eval()
    coded = create("resnet14_snn", coding="frequency(radii=[4, 4, 4])", **SETTINGS).eval()
    coded.load_state_dict(direct.state_dict())
    torch.testing.assert_close(coded(images()), direct(images()))


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


@pytest.mark.parametrize(
    ("coding", "size", "message"),
    [
        ("dct", 9, "coding dct: blocks of 4 pixels every 2 do not cover images of 9×9"),
        ("dct", 2, "coding dct: blocks of 4 pixels every 2 do not cover images of 2×2"),
        ("frequency(radii=[4, 2])", 8, "coding frequency: 2 radii for 3 time steps; give one a step"),
    ],
)
def test_images_and_steps_that_do_not_fit_are_one_clear_line(coding, size, message):
    with pytest.raises(InputError, match=message):
        create("resnet14_snn", coding=coding, **SETTINGS)(images(1, size))


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
        ("signedpoisson(gain=0)", "coding signedpoisson: gain must be positive"),
        ("signedpoisson(centre=2)", r"coding signedpoisson: centre must be in \[0, 1\]"),
        ("dct(stride=5)", r"coding dct: stride must be in \[1, 4\]"),
        ("dct(block=0)", "coding dct: block: "),
        ("dct(low=0.1)", "coding dct: low must be "),
        ("dct(high=-1)", "coding dct: high must be positive"),
        ("frequency(radii=[0])", "coding frequency: radii must be whole numbers of at least 1"),
        ("frequency(radii=[1.5])", "coding frequency: radii must be whole numbers"),
    ],
)
def test_refuses(text, message):
    with pytest.raises(InputError, match=message):
        create("resnet14_snn", coding=text, **SETTINGS)


def test_a_coding_with_too_few_frames_is_named():
    with pytest.raises(InputError, match="coding short: gives 2 frames for 2 images, not 6"):
        create("resnet14_snn", coding="short", **SETTINGS)(images())
    assert parse_coding("short") == Short()
