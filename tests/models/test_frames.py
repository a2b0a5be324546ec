"""The event coding: step t of a network sees frame t, and a purifier gives frame t back."""

import pytest
import torch
from torch import nn

from purespike.errors import InputError
from purespike.models import Defended, Purifier, create, load, save
from purespike.models.coding import parse_coding
from purespike.models.complexity import complexity
from purespike.models.frames import Events
from purespike.models.output import OUTPUTS

STEPS, SIDE = 3, 8
SETTINGS = {"in_channels": 2 * STEPS, "time_steps": STEPS, "coding": "events", "width": 1 / 16}


def frames(count=2, seed=0):
    draws = torch.Generator().manual_seed(seed)
    return (torch.rand(count, 2 * STEPS, SIDE, SIDE, generator=draws) < 0.2).float()


def test_step_t_sees_frame_t():
    images = frames()
    encoded = Events().encode(images, STEPS).unflatten(0, (STEPS, -1))
    for t in range(STEPS):
        for image in range(len(images)):
            assert torch.equal(encoded[t, image], images[image, 2 * t : 2 * t + 2])


def test_the_readout_is_the_inverse_whatever_the_number_of_maps():
    coding, images = Events(), frames()
    assert torch.equal(coding.readout(coding.encode(images, STEPS), STEPS, nn.Identity()), images)
    doubled = coding.readout(coding.encode(images, STEPS), STEPS, lambda x: torch.cat((x, 2 * x), 1))
    assert torch.equal(doubled, torch.cat((images, 2 * images), 1))


def test_statistics_leave_silence_silent():
    mean, std = [0.1, 0.3, 0.2, 0.5], [0.2, 0.4, 0.1, 0.0]
    centre, size = Events().statistics(mean, std)
    off, on = (0.01 + 0.04 + 0.04 + 0.01) / 2, (0.09 + 0.16 + 0.25 + 0.0) / 2
    assert centre == [0.0, 0.0] and size == pytest.approx([off**0.5, on**0.5])


def test_the_stem_sees_each_frame_once_and_nothing_of_silence():
    torch.manual_seed(0)
    model = create("resnet14_snn", num_classes=4, mean=[0.1] * 6, std=[0.2] * 6, **SETTINGS).eval()
    seen = []
    model.stem.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    images = frames()
    model(images)
    # the root mean square of a channel is the root of 0.05
    torch.testing.assert_close(seen[0], Events().encode(images, STEPS) / 0.05**0.5)
    assert len(seen) == 1 and complexity(model, SIDE, channels=6).layers[0].steps == STEPS


@pytest.mark.parametrize("output", OUTPUTS)
def test_a_purifier_of_frames(output, tmp_path):
    torch.manual_seed(0)
    purifier = Purifier(**SETTINGS, output=output).eval()
    images = frames()
    assert purifier(images).images.shape == purifier(images).noise_level.shape == images.shape
    if output in ("residual", "bounded"):
        assert torch.equal(purifier(images).images, images)
    nn.init.normal_(purifier.denoiser.last.weight, std=0.2)
    changed = images.clone()
    changed[:, 4:] = 1 - changed[:, 4:]
    one, other = purifier(images).images, purifier(changed).images
    # causal: the first frames are purified before the last one is seen
    assert torch.equal(one[:, :4], other[:, :4]) and not torch.equal(one[:, 4:], other[:, 4:])
    assert purifier.denoiser.last.out_channels == 2 * OUTPUTS[output].maps
    both = Defended(purifier, create("resnet14_snn", num_classes=4, **SETTINGS)).eval()
    save(both, tmp_path / "model.safetensors")
    again = load(tmp_path / "model.safetensors")
    assert torch.equal(again(images), both(images)) and again.purifier.config["coding"] == "events"
    leaf = images.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(both(leaf)[:, 0].sum(), leaf)
    assert gradient.shape == images.shape and gradient.isfinite().all()


def test_direct_purifiers_are_as_they_were():
    assert "coding" not in Purifier(in_channels=4, width=1 / 16).config
    assert str(parse_coding("events")) == "events()"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: Purifier(in_channels=6, time_steps=4, coding="events"),
            "take images of 8 channels.*got 6; set",
        ),
        (lambda: Purifier(in_channels=3, coding="events"), "got 3; take another coding"),
        (lambda: Purifier(coding="poisson"), "coding must be direct or events"),
        (
            lambda: create("resnet14_snn", **{**SETTINGS, "time_steps": 4})(frames()),
            "4 time steps take images of 8 .*got 6; set time_steps: 3",
        ),
    ],
)
def test_bad_settings(make, message):
    with pytest.raises(InputError, match=message):
        make()
