"""VGG11-SNN and the convex shortcuts of WideResNet16-4-SNN, layer by layer."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from purespike.models import create
from purespike.models.complexity import complexity, energy
from purespike.models.layers import ConvexPair
from purespike.neurons import multi_level_firing, surrogate_gradient

RAT = {"time_steps": 3, "thresholds": [1.0], "decay": 1.0, "surrogate": "triangle(width=1)"}


def warmed(name, images, **settings):
    torch.manual_seed(0)
    model = create(name, width=1 / 32, **settings)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        model.train()(images)
    return model.eval()


def pixels(*shape):
    return torch.rand(shape, generator=torch.Generator().manual_seed(1))


def test_vgg11_is_the_sequence_of_its_paper():
    """Written out for 32×32 images with plain functions, every layer at every step."""
    images = pixels(4, 3, 32, 32)
    model = warmed("vgg11_snn", images, **RAT)
    layers = [each for each in model.modules() if isinstance(each, nn.Conv2d | nn.BatchNorm2d | nn.Linear)]

    def fire(current):
        return multi_level_firing(current.unflatten(0, (3, 4)), thresholds=(1.0,), decay=1.0).flatten(0, 1)

    *hidden, readout = [each for each in layers if isinstance(each, nn.Linear)]
    values = ((images - 0.5) / 0.25).repeat(3, 1, 1, 1)
    for group in (1, 2, 3, 2):
        values = values if len(layers) == 19 else functional.avg_pool2d(values, 2)
        for _ in range(group):
            convolution, norm, *layers = layers
            values = fire(norm(convolution(values)))
    values = values.flatten(1)
    assert values.shape == (12, 16 * 16)
    for layer in hidden:
        values = fire(layer(values))
    expected = readout(values.unflatten(0, (3, 4)).mean(0))
    torch.testing.assert_close(model(images), expected, atol=1e-5, rtol=1e-4)
    assert values.mean() > 0.01, "the last neurons fire without training"


@pytest.mark.parametrize("size", [(28, 28), (16, 16), (31, 33), (3, 3), (48, 32)], ids=str)
def test_vgg11_takes_images_of_any_size(size):
    images = pixels(4, 3, *size)
    logits = warmed("vgg11_snn", images, **RAT)(images)
    assert logits.shape == (4, 10) and not torch.allclose(logits[0], logits[1], atol=1e-6)


@pytest.mark.parametrize("name", ["vgg11_snn", "wideresnet16_4_snn"])
def test_every_layer_is_counted_and_trained_on_by_any_surrogate(name):
    images = pixels(4, 3, 32, 32)
    model = warmed(name, images, **RAT)
    counted = complexity(model, 32)
    weighted = [each for each in model.modules() if isinstance(each, nn.Conv2d | nn.Linear)]
    assert len(counted.layers) == len(weighted)
    assert counted.parameters == sum(parameter.numel() for parameter in model.parameters())
    assert [layer.steps for layer in counted.layers] == [1, *[3] * (len(weighted) - 2), 1]
    spiking = {layer.name: layer.spiking for layer in energy(model, images).layers}
    if name == "vgg11_snn":
        # layers after an average pooling take fractions; that of 4×4 maps to 4×4 changes nothing
        analog = {"stem.0", "body.2", "body.9", "body.19", "readout"}
        assert {layer for layer, spikes in spiking.items() if not spikes} == analog
    gradients, outputs = [], []
    for surrogate in ("triangle(width=1)", "atan(alpha=2)"):
        leaf = images.clone().requires_grad_()
        with surrogate_gradient(model, surrogate):
            outputs.append(model(leaf))
            (gradient,) = torch.autograd.grad(outputs[-1].logsumexp(1).sum(), leaf)
        gradients.append(gradient)
    assert torch.equal(*outputs) and not torch.allclose(*gradients)
    assert all(each.isfinite().all() and each.flatten(1).any(1).all() for each in gradients)


def test_full_size_vgg11_multiplies_600_million_times_a_step():
    with torch.device("meta"):
        model = create("vgg11_snn")
    macs = sum(
        module.weight.numel() * area
        for module, area in zip(
            (each for each in model.modules() if isinstance(each, nn.Conv2d | nn.Linear)),
            (32**2, *[16**2] * 2, *[8**2] * 3, *[4**2] * 2, 1, 1, 1),
            strict=True,
        )
    )
    assert macs == pytest.approx(600e6, rel=0.1)


def test_a_convex_pair_joins_every_residual_and_shortcut():
    model = create("wideresnet16_4_snn", width=1 / 16)
    pairs = [module for module in model.modules() if isinstance(module, ConvexPair)]
    assert len(pairs) == 6 and all(pair.weights.tolist() == [0.5, 0.5] for pair in pairs)
    residual, shortcut = pixels(2, 3, 4, 4), pixels(2, 3, 4, 4) - 1
    with torch.no_grad():
        pairs[0].weights.copy_(torch.tensor([0.25, 0.75]))
    assert torch.equal(pairs[0](residual, shortcut), 0.25 * residual + 0.75 * shortcut)
