"""Every registered classifier passes every row here; a new one needs no line of its own."""

import pytest
import torch
from torch import nn

from purespike.errors import InputError
from purespike.models import create, list_models, register
from purespike.neurons import ATan, MultiLevelFiring, multi_level_firing

NAMES = list_models()
TINY = {"width": 1 / 16, "num_classes": 5}

every_model = pytest.mark.parametrize("name", NAMES)


def tiny(name, **settings):
    torch.manual_seed(0)
    return create(name, **{**TINY, **settings})


def pixels(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def warmed(model, images):
    """Batch norms that have seen the data, so that evaluation fires as training does."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        model.train()(images)
    return model.eval()


def test_the_paper_s_models_are_there():
    assert {"resnet14_snn", "resnet20_snn", "senet18_snn", "wideresnet16_8_snn"} <= set(NAMES)
    assert sorted(NAMES) == NAMES


@every_model
@pytest.mark.parametrize(
    ("settings", "shape"),
    [
        ({}, (2, 3, 8, 8)),
        ({"in_channels": 1}, (2, 1, 8, 8)),
        ({"in_channels": 2, "mean": [0.1, 0.2], "std": [0.3, 0.4]}, (2, 2, 8, 8)),
        ({}, (1, 3, 8, 8)),
        ({}, (2, 3, 5, 7)),
        ({}, (2, 3, 1, 1)),
        ({}, (2, 3, 13, 9)),
        ({"time_steps": 1}, (2, 3, 8, 8)),
        ({"time_steps": 4}, (3, 3, 8, 8)),
        ({"thresholds": [0.5]}, (2, 3, 8, 8)),
        ({"thresholds": (0.5, 1.5), "decay": 0.5, "surrogate": "atan"}, (2, 3, 8, 8)),
        ({"num_classes": 2}, (2, 3, 8, 8)),
        ({"width": 1e-9}, (2, 3, 8, 8)),
    ],
    ids=str,
)
def test_images_to_logits(name, settings, shape):
    model = tiny(name, **settings).eval()
    logits = model(pixels(*shape))
    assert logits.shape == (shape[0], settings.get("num_classes", 5))
    assert logits.isfinite().all()
    assert model.config == {"architecture": name, **TINY, **settings}


@every_model
def test_a_batch_does_not_mix_its_images(name):
    images = pixels(4, 3, 8, 8)
    model = warmed(tiny(name, thresholds=(0.2, 0.6)), images)
    together = model(images)
    apart = torch.cat([model(image[None]) for image in images])
    assert not torch.allclose(together[0], together[1], atol=1e-4)
    torch.testing.assert_close(together, apart, atol=1e-4, rtol=1e-4)


@every_model
def test_no_state_between_calls(name):
    model = warmed(tiny(name), pixels(4, 3, 8, 8)).eval()
    images, others = pixels(4, 3, 8, 8), pixels(4, 3, 8, 8, seed=1)
    first = model(images)
    assert not torch.equal(first, model(others))
    assert torch.equal(first, model(images))


@every_model
def test_the_same_seed_draws_the_same_weights(name):
    for a, b in zip(tiny(name).parameters(), tiny(name).parameters(), strict=True):
        assert torch.equal(a, b)


@every_model
def test_settings_reach_every_neuron(name):
    model = tiny(name, thresholds=[0.4, 0.9], decay=0.7, surrogate=ATan(3), time_steps=3)
    neurons = [module for module in model.modules() if isinstance(module, MultiLevelFiring)]
    assert len(neurons) > 8
    for neuron in neurons:
        assert (neuron.thresholds, neuron.decay) == ((0.4, 0.9), 0.7)
        assert (neuron.surrogate, neuron.time_steps) == (ATan(3), 3)
    for norm in (module for module in model.modules() if isinstance(module, nn.BatchNorm2d)):
        assert (norm.weight == 0.4).all()


@every_model
def test_width_scales_every_stage(name):
    narrow, wide = (
        [module for module in create(name, width=width).modules() if isinstance(module, nn.Conv2d)]
        for width in (1 / 16, 1 / 8)
    )
    assert len(narrow) == len(wide) > 7
    for small, large in zip(narrow, wide, strict=True):
        # the hidden layer of a gate has channels // 16, at least one
        if large.kernel_size == (1, 1) and small.out_channels == 1:
            continue
        assert small.out_channels * 2 == large.out_channels


@every_model
def test_time_steps_all_see_the_same_image(name):
    model = warmed(tiny(name, time_steps=3), pixels(4, 3, 8, 8))
    images = pixels(2, 3, 8, 8, seed=2)
    repeated = images[None].expand(3, *images.shape).flatten(0, 1)
    spikes = model.body(model.stem((repeated - 0.5) / 0.25))
    per_step = model.readout(model.head(spikes)).unflatten(0, (3, 2))
    torch.testing.assert_close(model(images), per_step.mean(0), atol=1e-5, rtol=1e-5)


@every_model
def test_one_time_step_is_the_network_without_memory(name):
    model = warmed(tiny(name, time_steps=1, decay=0.9), pixels(4, 3, 8, 8))
    forgetful = tiny(name, time_steps=1, decay=0.0).eval()
    forgetful.load_state_dict(model.state_dict())
    images = pixels(4, 3, 8, 8)
    assert torch.equal(model(images), forgetful(images))


@every_model
def test_normalises_inside(name):
    mean, std = [0.1, 0.5, 0.6], [0.2, 0.3, 0.25]
    model = warmed(tiny(name, mean=mean, std=std), pixels(4, 3, 8, 8))
    other = tiny(name).eval()
    other.load_state_dict({**model.state_dict(), **other.normalise.state_dict(prefix="normalise.")})
    images = pixels(4, 3, 8, 8)
    by_hand = (images - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)
    torch.testing.assert_close(model(images), other(by_hand * 0.25 + 0.5), atol=1e-3, rtol=1e-3)


@every_model
def test_gradients_reach_everything(name):
    images = pixels(8, 3, 8, 8).requires_grad_()
    model = warmed(tiny(name, width=1 / 8, surrogate="atan"), images).train()
    nn.functional.cross_entropy(model(images), torch.arange(8) % 5).backward()
    silent = [key for key, value in model.named_parameters() if value.grad is None or not value.grad.any()]
    assert silent == []
    assert images.grad.flatten(1).any(1).all()
    assert images.grad.isfinite().all()


@every_model
def test_wrong_channels(name):
    for shape in [(2, 1, 8, 8), (3, 8, 8), (2, 3, 8)]:
        with pytest.raises(InputError, match="3 channel"):
            tiny(name)(torch.zeros(shape))


@every_model
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_clases": 3}, "setting of .*did you mean 'num_classes'"),
        ({"num_classes": 1}, "num_classes: "),
        ({"num_classes": "ten"}, "model "),
        ({"in_channels": 0}, "in_channels: "),
        ({"width": 0}, "width: "),
        ({"width": -1}, "width: "),
        ({"width": float("nan")}, "width: "),
        ({"time_steps": 0}, "time_steps: "),
        ({"time_steps": 2.5}, "time_steps: "),
        ({"thresholds": []}, "thresholds: "),
        ({"thresholds": [2, 1]}, "thresholds: "),
        ({"decay": 1.5}, "decay: "),
        ({"surrogate": "atam"}, "did you mean 'atan'"),
        ({"mean": [0.5]}, "mean: need 3 values"),
        ({"std": [0.5, 0.5]}, "std: need 3 values"),
        ({"std": [0.5, 0.5, 0.0]}, "positive std"),
    ],
    ids=str,
)
def test_bad_settings(name, settings, message):
    with pytest.raises(InputError, match=message):
        tiny(name, **settings)


def test_unknown_model_names_the_nearest():
    with pytest.raises(InputError, match="did you mean 'resnet20_snn'"):
        create("resnet20")


def test_a_name_is_registered_once():
    def resnet14_snn(settings):
        raise AssertionError("never built")

    with pytest.raises(ValueError, match="registered twice"):
        register(resnet14_snn)


def test_depth_is_in_the_name():
    # weighted layers on the main path: 3x3 convolutions and the readout
    for name, depth in {"resnet14_snn": 14, "resnet20_snn": 20, "senet18_snn": 18}.items():
        layers = [module for module in tiny(name).modules() if getattr(module, "kernel_size", None) == (3, 3)]
        assert len(layers) + 1 == depth


def test_first_layer_fires_as_the_equation_says():
    model = tiny("resnet14_snn", time_steps=3).eval()
    images = pixels(2, 3, 8, 8)
    current = model.stem((images - 0.5) / 0.25)
    spikes = multi_level_firing(current[None].expand(3, *current.shape))
    assert torch.equal(model.body[0](current.repeat(3, 1, 1, 1)).unflatten(0, (3, 2)), spikes)
