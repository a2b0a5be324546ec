"""The purifier's second network: an encoder with a guess of its own, and a decoder that paints."""

import math

import pytest
import torch
from torch import nn

import purespike as ps
from purespike.errors import InputError
from purespike.models import Purifier
from purespike.neurons import firing_rates


def tiny(**settings):
    torch.manual_seed(0)
    given = {"width": 1 / 8, "time_steps": 2, "network": "encoder_decoder", "output": "reconstruction"}
    return Purifier(**{**given, **settings})


def awake(purifier):
    """A purifier as after training: statistics of some images, and a last layer that is no longer zero."""
    nn.init.normal_(purifier.denoiser.last.weight, std=0.5)
    with torch.no_grad():
        for _ in range(60):
            purifier(pixels(8, purifier.in_channels, 16, 16))
    return purifier.eval()


def pixels(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def conv(inputs, outputs, size=3):
    return inputs * outputs * size**2


def block(inputs, outputs):
    """Parameters of a residual block: two convolutions, two norms, and a shortcut where the width changes."""
    changed = conv(inputs, outputs, 1) + 2 * outputs if inputs != outputs else 0
    return conv(inputs, outputs) + conv(outputs, outputs) + 4 * outputs + changed


def test_parameter_counts():
    encoder = conv(3, 64) + 2 * 64 + 2 * block(64, 64)
    encoder += block(64, 128) + block(128, 128) + block(128, 256) + block(256, 256)
    guess = 256 * 7 + 7 + 7 * 256 + 256
    decoder = conv(256, 256) + 2 * 256
    decoder += conv(256, 128, 2) + 2 * 128 + block(128, 128) + conv(128, 64, 2) + 2 * 64 + block(64, 64)
    last = 64 * 3 + 3
    purifier = tiny(width=1, classes=7)
    assert sum(p.numel() for p in purifier.parameters()) == encoder + guess + decoder + last
    assert purifier.estimator is None


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (4, 4), (5, 7), (16, 16), (33, 30)], ids=str)
@pytest.mark.parametrize("output", ["reconstruction", "residual", "gated"])
def test_any_size_and_output_stage(size, output):
    purifier = awake(tiny(output=output))
    images = pixels(2, 3, *size)
    purified = purifier(images)
    assert purified.images.shape == purified.noise_level.shape == images.shape
    assert torch.equal(purified.noise_level, (images - purified.images).abs()), "what it took away"
    assert purifier.guesses(images).shape == (2, 10)
    torch.testing.assert_close(purifier(images[:1]).images, purified.images[:1], atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("network", ["cbdnet", "encoder_decoder"])
def test_a_new_gate_lets_images_pass(network):
    """A twentieth of the way to grey."""
    images = pixels(2, 3, 8, 8)
    told = Purifier(width=1 / 16, time_steps=2, output="gated", network=network)(images).images
    share = 1 / (1 + math.exp(3))
    torch.testing.assert_close(told, (1 - share) * images + share * 0.5, atol=1e-6, rtol=0)


def test_a_new_one_paints_grey_and_as_a_residual_nothing():
    images = pixels(2, 3, 8, 8)
    assert torch.equal(tiny()(images).images, torch.full_like(images, 0.5))
    assert torch.equal(tiny(output="residual")(images).images, images)


def test_no_path_leads_round_the_bottom():
    purifier = awake(tiny(in_channels=1))
    images = pixels(1, 1, 16, 16)
    constant = torch.zeros(2 * 1, 32, 4, 4)
    purifier.denoiser.encoder.register_forward_hook(lambda *_: constant)
    assert torch.equal(purifier(images).images, purifier(images.flip(-1)).images)


def test_the_decoder_is_shown_the_guess():
    purifier = awake(tiny(in_channels=1))
    images = pixels(1, 1, 16, 16)
    before = purifier(images).images
    nn.init.constant_(purifier.denoiser.guess.bias, 5.0)
    assert not torch.equal(purifier(images).images, before)


def test_gradient_reaches_everything():
    purifier = awake(tiny(width=1 / 4, output="residual")).train()
    images = pixels(4, 3, 16, 16).requires_grad_()
    (purifier(images).images - 0.5).square().sum().backward()
    silent = [key for key, value in purifier.named_parameters() if value.grad is None or not value.grad.any()]
    assert silent == []
    assert images.grad.flatten(1).any(1).all()


def test_every_layer_fires_once_it_has_seen_images():
    rates = firing_rates(awake(tiny(width=1 / 4)), pixels(8, 3, 16, 16))
    assert len(rates) == 1 + 2 * 6 + 2 + 1 + 2 * 3
    assert min(rates.values()) > 0.001


def test_the_guess_is_what_a_forward_computes():
    purifier = awake(tiny())
    seen = []
    purifier.denoiser.guess.register_forward_hook(lambda layer, inputs, output: seen.append(output))
    images = pixels(3, 3, 15, 13)
    purifier(images)
    assert torch.equal(purifier.guesses(images), seen[0].unflatten(0, (2, 3)).mean(0))


def test_saved_and_read_again(tmp_path):
    purifier = awake(tiny(classes=7))
    images = pixels(2, 3, 16, 16)
    ps.save(purifier, tmp_path / "purifier.safetensors")
    again = ps.load(tmp_path / "purifier.safetensors")
    assert again.config == purifier.config and again.config["network"] == "encoder_decoder"
    assert torch.equal(again(images).images, purifier(images).images)
    assert "network" not in Purifier(width=1 / 8, calibrated=False).config, "old files stay equal"


def test_event_frames_are_purified_step_by_step():
    purifier = awake(tiny(in_channels=4, coding="events"))
    images = pixels(2, 4, 16, 16)
    assert purifier(images).images.shape == images.shape


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"network": "encoder-decoder"}, "did you mean 'encoder_decoder'"),
        ({"classes": 0}, "purifier: classes"),
    ],
    ids=str,
)
def test_bad_settings(settings, message):
    with pytest.raises(InputError, match=message):
        tiny(**settings)


def test_the_papers_network_has_no_guess():
    with pytest.raises(InputError, match="only network encoder_decoder guesses a class"):
        tiny(network="cbdnet").guesses(pixels(1, 3, 8, 8))
