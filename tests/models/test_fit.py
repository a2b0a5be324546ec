"""Models whose outputs or inputs do not fit: one line that names the shape and the remedy."""

from collections import namedtuple

import numpy as np
import pytest
import torch
from torch import nn

import purespike as ps
from purespike.errors import InputError
from purespike.models import Purifier
from purespike.models.fit import check_fit, precision_of

IMAGES = torch.rand(6, 3, 8, 8, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([0, 1, 2, 3, 0, 1])
Two = namedtuple("Two", "features logits")


def flat(images):
    return images.flatten(1)[:, :4]


class Outputs:
    def __init__(self, logits):
        self.logits = logits


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda z: (None, flat(z)), r"a tuple of NoneType, \[2, 4\].*take=1\)"),
        (lambda z: [flat(z)], r"a list of \[2, 4\].*take=0\)"),
        (lambda z: {"loss": z.sum(), "logits": flat(z)}, r"'logits': \[2, 4\].*take='logits'\)"),
        (lambda z: {"out": flat(z)}, r"take='out'\)"),
        (lambda z: Outputs(flat(z)), r"a Outputs .*take='logits'\)"),
        (lambda z: flat(z).expand(5, -1, -1), r"\[5, 2, 4\].*\[T, N, K\].*take='mean'\)"),
        (lambda z: flat(z)[:, None].expand(-1, 5, -1), r"\[N, T, K\].*outputs.mean\(1\)"),
        (lambda z: flat(z)[0], r"a tensor \[4\] for 2 images, not logits \[N, K\]; return one row"),
        (lambda z: flat(z)[:1], r"a tensor \[1, 4\] for 2 images"),
        (lambda z: flat(z)[:, 0], r"\[N\]\? make two classes"),
        (lambda z: z, r"a tensor \[2, 3, 8, 8\]"),
        (lambda z: flat(z).long(), r"torch.int64 logits"),
        (lambda z: flat(z).to("meta"), r"logits on meta, but takes images on cpu"),
        (lambda z: None, "a NoneType"),
        (lambda z: "abc", "a str"),
        (Purifier(width=1 / 16, calibrated=False), "it is a purifier: put it before a classifier"),
    ],
)
def test_outputs_that_are_no_logits(answer, message):
    for run in (
        lambda: ps.evaluate(answer, (IMAGES, LABELS), attacks=["fgsm"], diagnose=0),
        lambda: check_fit(ps.models.adapters.as_module(answer), IMAGES, LABELS, name="mine"),
    ):
        with pytest.raises(InputError, match=message) as error:
            run()
        assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("answer", "take"),
    [
        (lambda z: (None, flat(z)), 1),
        (lambda z: {"logits": flat(z)}, "logits"),
        (lambda z: Outputs(flat(z)), "logits"),
        (lambda z: Two(None, flat(z)), "logits"),
        (lambda z: torch.stack([flat(z) - 1, flat(z) + 1]), "mean"),
        (lambda z: torch.stack([flat(z) / 4, flat(z) * 3 / 4]), "sum"),
        (lambda z: torch.stack([-flat(z), flat(z)]), "last"),
        (lambda z: flat(z)[:, None], lambda outputs: outputs[:, 0]),
    ],
)
def test_logits_takes_them(answer, take):
    model = ps.Logits(answer, take=take)
    torch.testing.assert_close(model(IMAGES), flat(IMAGES))
    check_fit(model, IMAGES, LABELS)
    assert ps.evaluate(model, (IMAGES, LABELS), attacks=["fgsm"], diagnose=0).clean.undefended.n == 6


@pytest.mark.parametrize(
    ("answer", "take"), [(lambda z: {"a": z}, "b"), (lambda z: (z,), 3), (flat, "mean"), (lambda z: None, 0)]
)
def test_a_place_that_is_none(answer, take):
    with pytest.raises(InputError, match="take="):
        ps.Logits(answer, take=take)(IMAGES)


def convolution(channels):
    return nn.Sequential(nn.Conv2d(channels, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())


@pytest.mark.parametrize(
    ("model", "images", "message"),
    [
        (convolution(3), IMAGES.permute(0, 2, 3, 1), r"look like \[N, H, W, C\]: give images.permute"),
        (convolution(1), IMAGES, r"have 3 channel\(s\), its first convolution takes 1: give images.mean"),
        (convolution(3), IMAGES[:, :1], r"takes 3: give images.expand"),
        (convolution(4), IMAGES, r"have 3 channel\(s\), its first convolution takes 4$"),
        (convolution(64), IMAGES, r"fails on images of shape \[2, 3, 8, 8\]: RuntimeError"),
        (ps.models.create("resnet14_snn", width=1 / 16), IMAGES.permute(0, 2, 3, 1), r"\[N, H, W, C\]"),
    ],
)
def test_channels_are_guessed(model, images, message):
    with pytest.raises(InputError, match=message):
        check_fit(model, images, LABELS)


@pytest.mark.parametrize("model", [1, "model", nn.Linear, None])
def test_neither_module_nor_function(model):
    for run in (ps.evaluate, lambda model, data, **_: ps.attacks.fgsm(model, *data)):
        with pytest.raises(InputError, match=r"not an nn\.Module nor a function"):
            run(model, (IMAGES, LABELS), attacks=["fgsm"])


def test_plain_functions_and_numpy_labels_and_images():
    settings = {"attacks": ["pgd:steps=2"], "diagnose": 0, "threat": "adaptive"}
    whole = ps.evaluate(nn.Sequential(nn.Flatten(), nn.Linear(192, 4)), (IMAGES, LABELS), **settings)
    assert whole.clean.undefended.n == 6
    for images, labels in ((IMAGES, LABELS.numpy()), (IMAGES.numpy(), LABELS.numpy().astype(np.int16))):
        given, expected = (
            ps.evaluate(flat, pair, **settings).cells[0] for pair in ((images, labels), (IMAGES, LABELS))
        )
        assert given.outcomes == expected.outcomes
    mine = ps.attacks.fgsm(flat, IMAGES, LABELS.numpy())
    assert torch.equal(mine.images, ps.attacks.fgsm(ps.Logits(flat, take=lambda z: z), IMAGES, LABELS).images)


def test_float64_models_are_tried_with_float64():
    check_fit(convolution(3).double(), IMAGES, LABELS)
    check_fit(convolution(3), IMAGES.double(), LABELS)


def test_the_precision_is_that_of_the_weights():
    layer = nn.Linear(2, 2)
    assert precision_of(layer) == "fp32" == precision_of(nn.Flatten())
    assert precision_of(nn.Linear(2, 2).double()) == "fp64"
    assert precision_of(layer, nn.Linear(2, 2).bfloat16()) == "bf16, fp32"
