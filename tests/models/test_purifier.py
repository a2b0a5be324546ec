import pytest
import torch
from torch import nn

from purespike.errors import InputError
from purespike.models import Denoiser, NoiseEstimator, Purifier
from purespike.models.layers import NeuronConfig
from purespike.neurons import ATan, MultiLevelFiring, firing_rates

LIF, MLF = (0.6,), (0.6, 1.6, 2.6)


def tiny(**settings):
    torch.manual_seed(0)
    return Purifier(**{"width": 1 / 8, "calibrated": False, **settings})


def awake(purifier):
    """A purifier as after training: its last layers are no longer zero."""
    nn.init.normal_(purifier.denoiser.last.weight, std=0.1)
    nn.init.normal_(purifier.estimator.last.weight, std=0.1)
    return purifier


def pixels(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def parameters(module):
    return sum(parameter.numel() for parameter in module.parameters())


def conv(inputs, outputs, size=3):
    return inputs * outputs * size**2 + outputs


def test_parameter_counts():
    purifier = Purifier(calibrated=False)
    estimator = conv(3, 32) + 3 * conv(32, 32) + conv(32, 3)
    denoiser = (
        conv(6, 64)
        + conv(64, 64)
        + conv(64, 128)
        + 2 * conv(128, 128)
        + conv(128, 256)
        + 5 * conv(256, 256)
        + conv(256, 128, 2)
        + 3 * conv(128, 128)
        + conv(128, 64, 2)
        + 2 * conv(64, 64)
        + conv(64, 3, 1)
    )
    assert parameters(purifier.estimator) == estimator == 29_507
    assert parameters(purifier.denoiser) == denoiser == 4_335_875
    assert parameters(purifier) == 4_365_382
    neurons = NeuronConfig(LIF)
    assert parameters(NoiseEstimator(3, 32, neurons)) == 29_507
    assert parameters(Denoiser(3, (64, 128, 256), neurons, 1)) == 4_335_875


SIZES = [(1, 1), (1, 9), (2, 3), (4, 4), (5, 7), (8, 6), (33, 30)]


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("channels", [1, 3])
def test_a_new_purifier_changes_no_image(channels, size):
    purifier = tiny(in_channels=channels)
    images = pixels(2, channels, *size)
    purified = purifier(images)
    assert torch.equal(purified.images, images)
    assert purified.noise_level.shape == images.shape
    assert purified.noise_level.isfinite().all()


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("settings", [{"thresholds": LIF}, {"thresholds": MLF, "time_steps": 2}], ids=str)
def test_any_size_once_trained(settings, size):
    purifier = awake(tiny(**settings, calibrated=True))
    images = pixels(2, 3, *size)
    purified = purifier(images)
    assert purified.images.shape == purified.noise_level.shape == images.shape
    assert not torch.equal(purified.images, images)
    torch.testing.assert_close(purifier(images[:1]).images, purified.images[:1], atol=1e-3, rtol=1e-3)


def test_borders_are_replicated():
    purifier = awake(tiny(calibrated=True))
    images = pixels(1, 3, 5, 7)
    padded = torch.cat([images, images[..., -1:, :].expand(-1, -1, 3, -1)], 2)
    padded = torch.cat([padded, padded[..., -1:]], 3)
    for cropped, whole in zip(purifier(images), purifier(padded), strict=True):
        assert torch.equal(cropped, whole[..., :5, :7])


def test_output_is_not_clipped():
    purifier = tiny()
    nn.init.constant_(purifier.denoiser.last.bias, 2.0)
    assert purifier(pixels(1, 3, 4, 4)).images.min() > 1


def test_the_noise_level_feeds_the_denoiser():
    purifier = awake(tiny(calibrated=True))
    images = pixels(1, 3, 8, 8)
    before = purifier(images)
    nn.init.constant_(purifier.estimator.last.bias, 1.0)
    after = purifier(images)
    torch.testing.assert_close(
        after.noise_level - after.noise_level.mean((0, 2, 3), keepdim=True),
        before.noise_level - before.noise_level.mean((0, 2, 3), keepdim=True),
    )
    assert not torch.allclose(before.images, after.images)


@pytest.mark.parametrize("thresholds", [LIF, MLF], ids=["LIF", "MLF"])
@pytest.mark.parametrize(
    "settings", [{"width": 1 / 4}, {"width": 1 / 4, "in_channels": 1}, {"width": 1}], ids=str
)
def test_every_layer_fires_at_first(thresholds, settings):
    purifier = tiny(**settings, thresholds=thresholds, calibrated=True)
    channels = settings.get("in_channels", 3)
    # images it was not calibrated on: flat patches with an edge
    images = torch.nn.functional.interpolate(
        pixels(4, channels, 4, 4, seed=5), scale_factor=4, mode="bilinear"
    )
    rates = firing_rates(purifier, images)
    assert len(rates) == 4 + 16
    assert {name: rate for name, rate in rates.items() if not 0.01 < rate < 0.95} == {}


def test_without_calibration_the_deep_layers_are_silent():
    rates = firing_rates(tiny(width=1 / 4), pixels(4, 3, 16, 16))
    bottom = [rate for name, rate in rates.items() if "bottom" in name]
    assert len(bottom) == 6 and max(bottom[-3:]) < 0.001


@pytest.mark.parametrize("thresholds", [LIF, MLF], ids=["LIF", "MLF"])
def test_gradient_reaches_everything(thresholds):
    purifier = awake(tiny(width=1 / 4, thresholds=thresholds, calibrated=True))
    images = pixels(4, 3, 8, 8).requires_grad_()
    # through the purified images alone: the estimator is trained by the reconstruction too
    (purifier(images).images - images).square().sum().backward()
    silent = [key for key, value in purifier.named_parameters() if value.grad is None or not value.grad.any()]
    assert silent == []
    assert images.grad.flatten(1).any(1).all()


def test_settings_reach_every_neuron():
    purifier = tiny(thresholds=[0.4, 0.9], decay=0.7, surrogate="atan(alpha=3)", time_steps=3)
    neurons = [module for module in purifier.modules() if isinstance(module, MultiLevelFiring)]
    assert {(n.thresholds, n.decay, n.surrogate, n.time_steps) for n in neurons} == {
        ((0.4, 0.9), 0.7, ATan(3), 3)
    }


def test_no_state_between_calls():
    purifier = awake(tiny(calibrated=True))
    images, others = pixels(2, 3, 8, 8), pixels(2, 3, 8, 8, seed=1)
    first = purifier(images)
    assert not torch.equal(first.images - images, purifier(others).images - others)
    assert torch.equal(first.images, purifier(images).images)


@pytest.mark.parametrize("shape", [(2, 1, 8, 8), (3, 8, 8), (2, 6, 8, 8)], ids=str)
def test_wrong_channels(shape):
    with pytest.raises(InputError, match="3 channel"):
        tiny()(torch.zeros(shape))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"in_channels": 0}, "in_channels"),
        ({"width": 0}, "width"),
        ({"width": float("nan")}, "width"),
        ({"time_steps": 0}, "time_steps"),
        ({"thresholds": ()}, "thresholds"),
        ({"decay": 2}, "decay"),
        ({"surrogate": "rectangel"}, "did you mean 'rectangle'"),
    ],
    ids=str,
)
def test_bad_settings(settings, message):
    with pytest.raises(InputError, match=message):
        tiny(**settings)
