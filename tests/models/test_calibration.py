import pytest
import torch
from torch import nn

from purespike.models import Purifier
from purespike.models.calibration import calibrate, natural_noise
from purespike.neurons import LIF


def currents(model, images, layers):
    seen = {}
    hooks = [
        layer.register_forward_hook(lambda _, __, output, key=key: seen.__setitem__(key, output))
        for key, layer in layers.items()
    ]
    with torch.no_grad():
        model(images)
    for hook in hooks:
        hook.remove()
    return seen


@pytest.mark.parametrize("settings", [{}, {"thresholds": (0.6, 1.6, 2.6), "in_channels": 1}], ids=str)
def test_every_current_of_a_purifier_is_standardised(settings):
    torch.manual_seed(0)
    purifier = Purifier(width=1 / 4, calibrated=False, **settings)
    images = torch.rand(6, settings.get("in_channels", 3), 16, 16)
    purifier.calibrate(images)
    analog = ("estimator.last", "denoiser.last")
    layers = {
        key: module
        for key, module in purifier.named_modules()
        if isinstance(module, nn.Conv2d) and key not in analog
    }
    assert len(layers) == 4 + 16
    for key, current in currents(purifier, images, layers).items():
        # a spike at the very edge may fall either way once the weights are rounded
        assert current.mean((0, 2, 3)).abs().max() < 0.02, key
        assert (current.std((0, 2, 3)) - 1).abs().max() < 0.02, key
    assert not any(module._forward_hooks for module in purifier.modules())


def test_analog_layers_keep_their_weights():
    torch.manual_seed(0)
    purifier = Purifier(width=1 / 8, calibrated=False)
    analog = (purifier.estimator.last, purifier.denoiser.last)
    for layer in analog:
        nn.init.normal_(layer.weight)
    before = [layer.weight.clone() for layer in analog]
    purifier.calibrate(torch.rand(4, 3, 8, 8))
    for layer, weight in zip(analog, before, strict=True):
        assert torch.equal(layer.weight, weight)


def test_a_constant_channel_stays_finite():
    model = nn.Sequential(nn.Conv2d(1, 2, 1), LIF(time_steps=1), nn.Conv2d(2, 2, 1), LIF(time_steps=1))
    calibrate(model, torch.full((2, 1, 4, 4), 0.5), [model[0], model[2]])
    assert all(parameter.isfinite().all() for parameter in model.parameters())


def test_hooks_leave_after_an_exception():
    model = nn.Sequential(nn.Conv2d(1, 2, 1))
    with pytest.raises(RuntimeError):
        calibrate(model, torch.zeros(2, 3, 4, 4), [model[0]])
    assert not model[0]._forward_hooks


@pytest.mark.parametrize("channels", [1, 3])
def test_natural_noise(channels):
    images = natural_noise(6, channels, 32, seed=3)
    assert images.shape == (6, channels, 32, 32)
    assert images.min() >= 0 and images.max() <= 1
    assert torch.equal(images, natural_noise(6, channels, 32, seed=3))
    assert not torch.equal(images, natural_noise(6, channels, 32, seed=4))
    # neighbours resemble each other, unlike in white noise
    centred = images - images.mean((2, 3), keepdim=True)
    neighbours = (centred[..., 1:] * centred[..., :-1]).mean() / centred.square().mean()
    assert neighbours > 0.6


def test_drawing_it_leaves_the_global_generator_alone():
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    natural_noise(1, 1, 8, seed=0)
    assert torch.equal(torch.rand(3), expected)
