"""Full-size parameter counts, against sums made by hand."""

import itertools

import pytest

from purespike.models import create


def conv(inputs, outputs, size=3):
    return inputs * outputs * size**2


def norm(channels):
    return 2 * channels


def ds_resnet(blocks):
    total, inputs = conv(3, 64) + norm(64), 64
    for index, outputs in enumerate((64, 128, 256)):
        for _ in range(blocks):
            total += conv(inputs, outputs) + conv(outputs, outputs) + 2 * norm(outputs)
            inputs = outputs
        if index:
            total += conv(outputs // 2, outputs, 1) + norm(outputs)
    return total + 256 * 10 + 10


def gate(channels):
    hidden = channels // 16
    return 2 * channels * hidden + hidden + channels


def preactivation(first, stages, *, strides, gated=False, convex=False):
    total, inputs = conv(3, first), first
    for outputs, stride in zip(stages, strides, strict=True):
        for index in range(2):
            total += norm(inputs) + conv(inputs, outputs) + norm(outputs) + conv(outputs, outputs)
            total += gate(outputs) if gated else 2 * convex
            total += conv(inputs, outputs, 1) if index == 0 and (inputs != outputs or stride != 1) else 0
            inputs = outputs
    return total + norm(inputs) + inputs * 10 + 10


ROWS = {
    "resnet14_snn": (2_777_674, ds_resnet(2)),
    "resnet20_snn": (4_327_754, ds_resnet(3)),
    "senet18_snn": (
        11_261_378,
        # its stem is normalised, and followed by neurons
        norm(64) + preactivation(64, (64, 128, 256, 512), strides=(1, 2, 2, 2), gated=True),
    ),
    "wideresnet16_8_snn": (
        10_961_370,
        preactivation(16, (128, 256, 512), strides=(1, 2, 2)),
    ),
    "wideresnet16_4_snn": (
        2_748_902,
        preactivation(16, (64, 128, 256), strides=(1, 2, 2), convex=True),
    ),
    # of 32×32 images; SNN-RAT's own has as many
    "vgg11_snn": (
        61_377_034,
        sum(conv(a, b) + b + norm(b) for a, b in itertools.pairwise((3, 64, 128, 256, *[512] * 5)))
        + sum(a * b + b for a, b in itertools.pairwise((512 * 4 * 4, 4096, 4096, 10))),
    ),
}


@pytest.mark.parametrize("name", ROWS)
def test_parameter_count(name):
    count = sum(parameter.numel() for parameter in create(name).parameters())
    assert [count, count] == [*ROWS[name]]


@pytest.mark.parametrize(("channels", "classes"), [(1, 10), (3, 100), (4, 2)])
def test_channels_and_classes_change_the_ends_only(channels, classes):
    model = create("resnet14_snn", in_channels=channels, num_classes=classes)
    count = sum(parameter.numel() for parameter in model.parameters())
    assert count - ds_resnet(2) == (channels - 3) * 64 * 9 + (classes - 10) * 257
