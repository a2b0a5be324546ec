"""Every attack on images of any type and layout, in any mode of autograd, and models that write into them."""

import copy

import pytest
import torch
from torch import nn

from purespike.attacks import bounded

from .rows import assert_judged, excess


class Autocast(nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, images):
        with torch.autocast("cpu", torch.bfloat16):
            logits = self.model(images)
        assert logits.dtype == torch.bfloat16
        return logits


def test_under_autocast(row, plain):
    name, _, attack = row
    model, images, labels = plain
    model = Autocast(model).eval()
    result = attack(model, images, labels)
    assert result.images.dtype == torch.float32 and result.loss_trace.dtype == torch.float32
    assert_judged(result, model, labels)
    if bounded(name):
        assert excess(attack, result, images) <= 1e-6


def test_in_bfloat16(row, victim):
    name, _, attack = row
    model, images, labels = copy.deepcopy(victim[0]).bfloat16(), victim[1].bfloat16(), victim[2]
    result = attack(model, images, labels)
    assert result.images.dtype == torch.bfloat16
    assert result.images.min() >= 0 and result.images.max() <= 1
    assert_judged(result, model, labels)
    assert result.loss_trace.dtype == torch.float32 and not result.loss_trace[0].isnan().any()
    if bounded(name):
        # no matter how coarse the images are
        assert excess(attack, result, images) <= 0


def test_in_float64(row, plain):
    _, _, attack = row
    model, images, labels = copy.deepcopy(plain[0]).double(), plain[1].double(), plain[2]
    result = attack(model, images, labels)
    assert result.images.dtype == torch.float64
    assert_judged(result, model, labels)


def test_under_a_default_type_of_float64(row, plain):
    _, _, attack = row
    model, images, labels = plain
    expected = attack(model, images, labels)
    torch.set_default_dtype(torch.float64)
    try:
        result = attack(model, images, labels)
    finally:
        torch.set_default_dtype(torch.float32)
    assert result.images.dtype == torch.float32
    # sums of a trace may be taken in the default type, images may not
    assert torch.equal(result.success, expected.success)
    torch.testing.assert_close(result.images, expected.images, rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
def test_images_of_another_type_than_the_model(row, plain, kind):
    """Images are cast on their way into the model, and stay what they are."""
    _, _, attack = row
    model, images, labels = copy.deepcopy(plain[0]), plain[1].to(kind), plain[2]
    model = model.double() if kind == torch.float32 else model
    result = attack(model, images, labels)
    assert result.images.dtype == kind
    assert_judged(result, nn.Sequential(Cast(model), model), labels)


class Cast(nn.Module):
    def __init__(self, model):
        super().__init__()
        self.kind = next(model.parameters()).dtype

    def forward(self, images):
        return images.to(self.kind)


@pytest.mark.parametrize("context", [torch.no_grad, torch.enable_grad])
def test_does_not_mind_the_grad_mode(row, plain, context):
    _, _, attack = row
    model, images, labels = plain
    expected = attack(model, images, labels)
    with context():
        assert torch.equal(attack(model, images.clone().requires_grad_(), labels).images, expected.images)


def test_in_inference_mode(row, plain):
    """Also with images and labels that were made in it, of which autograd wants to know nothing."""
    _, _, attack = row
    model, images, labels = plain
    expected = attack(model, images, labels)
    with torch.inference_mode():
        found = attack(model, images.clone(), labels.clone())
    assert torch.equal(found.images, expected.images) and torch.equal(found.success, expected.success)


class InPlace(nn.Module):
    """Normalises its input in place."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, images):
        return self.model(images.sub_(0.5).mul_(2))


class Normalises(InPlace):
    """The same, on a copy."""

    def forward(self, images):
        return self.model((images - 0.5) * 2)


def test_a_model_may_write_into_its_input(row, plain):
    _, _, attack = row
    model, images, labels = plain
    untouched = images.clone()
    found, expected = (attack(kind(model), images, labels) for kind in (InPlace, Normalises))
    assert torch.equal(images, untouched) and found.images.aminmax()[1] <= 1
    assert torch.equal(found.success, expected.success)


@pytest.mark.parametrize("channels_last", [False, True])
def test_layout_of_the_images_does_not_matter(row, plain, channels_last):
    _, _, attack = row
    model, images, labels = plain
    wide = torch.stack((images, images), -1)[..., 0]
    laid_out = images.contiguous(memory_format=torch.channels_last) if channels_last else wide
    result = attack(model, laid_out, labels)
    # another convolution algorithm may round a small gradient to the other sign, in bf16 many of them
    far = (result.images - attack(model, images, labels).images).abs() > 1e-3
    assert far.float().mean() < (0.25 if getattr(attack, "precision", "") == "bf16" else 0.05)
