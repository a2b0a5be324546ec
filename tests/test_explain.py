"""Grad-CAM agrees with plain hooks in float64, and leaves the model as it was."""

import copy
import sys

import pytest
import torch
from torch import nn
from torch.nn import functional

from purespike.errors import InputError
from purespike.explain import grad_cam, similarity
from purespike.models import Defended, create

N, K, T = 4, 3, 2


class Shift(nn.Module):
    """A purifier that changes its images beyond doubt, and beyond [0, 1]."""

    def forward(self, images):
        return images.roll(3, -1) + 0.2


def relu_network():
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Conv2d(2, 6, 3, padding=1),
        nn.BatchNorm2d(6),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2),
        nn.Conv2d(6, 5, 3),
        nn.ReLU(inplace=True),
        nn.Flatten(),
        nn.LazyLinear(K),
    )


def spiking(name):
    def build():
        torch.manual_seed(2)
        return create(name, width=1 / 8, in_channels=2, num_classes=K, time_steps=T)

    return build


def build(make):
    """The network in float64, its batch statistics settled, in evaluation mode."""
    model = make().double()
    with torch.no_grad():
        for _ in range(40):
            model(images(32))
    return model.eval()


def images(count=N):
    torch.manual_seed(3)
    return torch.rand(count, 2, 12, 14, dtype=torch.float64)


LABELS = torch.arange(N) % K

# how to make a network, the layer to explain (None: the default), where it is, its time steps
ROWS = {
    "relu": (relu_network, None, lambda model: model[4], 1),
    "relu, first convolution": (relu_network, lambda model: model[0], lambda model: model[0], 1),
    "senet": (spiking("senet18_snn"), None, lambda model: model.body, T),
    "senet, a block": (spiking("senet18_snn"), lambda m: m.body[6], lambda m: m.body[6], T),
    "resnet": (spiking("resnet14_snn"), None, lambda model: model.body, T),
    "resnet, a block": (spiking("resnet14_snn"), lambda m: m.body[4], lambda m: m.body[4], T),
    "wideresnet": (spiking("wideresnet16_8_snn"), None, lambda model: model.body, T),
    "resnet, before time": (spiking("resnet14_snn"), lambda m: m.stem, lambda m: m.stem, 1),
}


def plain(model, layer, images, labels, steps):
    """Grad-CAM written out: hooks, one image and one time step after the other."""
    kept = []

    def keep(module, inputs, output):
        kept.append(output.clone())
        kept[0].retain_grad()
        # whatever comes next may work in place
        return kept[0].clone()

    model = copy.deepcopy(model)
    layer = dict(model.named_modules())[layer]
    with torch.enable_grad():
        handle = layer.register_forward_hook(keep)
        model(images.clone().requires_grad_()).gather(1, labels[:, None]).sum().backward()
        handle.remove()
    values, gradients = kept[0].detach(), kept[0].grad
    maps = []
    for n in range(len(images)):
        total = torch.zeros(values.shape[2:], dtype=values.dtype)
        for t in range(steps):
            row = t * len(images) + n
            for c in range(values.shape[1]):
                total += gradients[row, c].mean() * values[row, c]
        total = (total / steps).clamp(min=0)[None, None]
        total = functional.interpolate(total, images.shape[2:], mode="bilinear", align_corners=False)[0, 0]
        maps.append(total / total.max() if total.max() > 0 else total)
    return torch.stack(maps)


def name_of(model, layer):
    return next(name for name, module in model.named_modules() if module is layer)


@pytest.mark.parametrize(("make", "chosen", "place", "steps"), ROWS.values(), ids=ROWS)
class TestEveryNetwork:
    def test_agrees_with_plain_hooks(self, make, chosen, place, steps):
        model = build(make)
        maps = grad_cam(model, images(), LABELS, layer=chosen and chosen(model))
        wanted = plain(model, name_of(model, place(model)), images(), LABELS, steps)
        # a comparison of zeros would compare nothing
        assert (wanted.amax((1, 2)) > 0).sum() >= 2
        torch.testing.assert_close(maps, wanted, rtol=1e-9, atol=1e-12)

    def test_shape_and_range(self, make, chosen, place, steps):
        model = build(make)
        maps = grad_cam(model, images(), LABELS, layer=chosen and chosen(model))
        assert maps.shape == (N, 12, 14) and not maps.requires_grad
        assert maps.min() >= 0 and maps.max() <= 1
        assert all(peak in (0, 1) for peak in maps.amax((1, 2)))

    def test_images_of_a_batch_do_not_mix(self, make, chosen, place, steps):
        model = build(make)
        layer = chosen and chosen(model)
        alone = [
            grad_cam(model, one[None], label[None], layer=layer)
            for one, label in zip(images(), LABELS, strict=True)
        ]
        torch.testing.assert_close(grad_cam(model, images(), LABELS, layer=layer), torch.cat(alone))

    def test_leaves_the_model_as_it_was(self, make, chosen, place, steps):
        model = build(make).train()
        next(model.children()).eval()
        parameters = list(model.parameters())
        parameters[0].grad = torch.full_like(parameters[0], 7)
        parameters[1].requires_grad_(False)
        state = copy.deepcopy(model.state_dict())
        modes = [module.training for module in model.modules()]
        given = images()
        grad_cam(model, given, LABELS, layer=chosen and chosen(model))
        assert [module.training for module in model.modules()] == modes
        assert torch.equal(parameters[0].grad, torch.full_like(parameters[0], 7))
        assert all(parameter.grad is None for parameter in parameters[1:])
        assert not parameters[1].requires_grad and all(p.requires_grad for p in parameters[2:])
        assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())
        assert not any(module._forward_hooks for module in model.modules())
        assert torch.equal(given, images()) and not given.requires_grad


@pytest.mark.parametrize("name", ["senet18_snn", "resnet14_snn"])
def test_default_of_ours_is_the_readout_weights_on_the_mean_spikes(name):
    # class activation mapping (Zhou et al. 2016), which Grad-CAM is before a mean and a linear readout
    model = build(spiking(name))
    spikes = []
    with torch.no_grad(), model.body.register_forward_hook(lambda *call: spikes.append(call[2])):
        model(images())
    rates = torch.stack(spikes[0].chunk(T)).mean(0)
    wanted = torch.einsum("nc,nchw->nhw", model.readout.weight[LABELS], rates).relu().detach()
    wanted = functional.interpolate(wanted[:, None], (12, 14), mode="bilinear")[:, 0]
    wanted /= wanted.amax((1, 2), keepdim=True).clamp(min=1e-12)
    torch.testing.assert_close(grad_cam(model, images(), LABELS), wanted)


def test_of_defended_explains_the_classifier_on_the_images_given():
    classifier = build(relu_network)
    model = Defended(Shift(), Defended(Shift(), classifier))
    wanted = grad_cam(classifier, images(), LABELS)
    assert torch.equal(grad_cam(model, images(), LABELS), wanted)
    assert torch.equal(grad_cam(model, images(), LABELS, layer=classifier[4]), wanted)


def test_takes_purified_images_beyond_the_range():
    model = build(relu_network)
    shifted = Shift()(images())
    assert shifted.max() > 1
    torch.testing.assert_close(grad_cam(model, shifted, LABELS), plain(model, "4", shifted, LABELS, 1))


def test_finds_our_classifier_inside_a_foreign_model():
    model = build(spiking("senet18_snn"))
    wrapped = nn.Sequential(model, nn.Identity())
    assert torch.equal(grad_cam(wrapped, images(), LABELS), grad_cam(model, images(), LABELS))


def test_nothing_for_a_class_is_a_zero_map():
    model = build(relu_network)
    nn.init.zeros_(model[7].weight)
    assert not grad_cam(model, images(), LABELS).any()


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
def test_works_where_gradients_are_off(context):
    model = build(relu_network)
    wanted = grad_cam(model, images(), LABELS)
    with context():
        assert torch.equal(grad_cam(model, images(), LABELS), wanted)


def test_half_precision_and_frozen_parameters():
    model = build(relu_network).requires_grad_(False)
    wanted = grad_cam(model, images(), LABELS)
    maps = grad_cam(model.bfloat16(), images().bfloat16(), LABELS)
    assert maps.dtype == torch.float32
    torch.testing.assert_close(maps.double(), wanted, rtol=0, atol=0.1)


def test_no_images_no_maps():
    assert grad_cam(build(relu_network), images()[:0], LABELS[:0]).shape == (0, 12, 14)


class Unused(nn.Module):
    """Has convolutions that never run, or whose output nobody needs."""

    def __init__(self):
        super().__init__()
        self.readout = nn.Linear(2, K)
        self.idle = nn.Conv2d(2, 2, 1)
        self.unread = nn.Conv2d(2, 2, 1)

    def forward(self, images):
        self.unread(images)
        return self.readout(images.mean((2, 3)))


def linear():
    return nn.Sequential(nn.Flatten(), nn.LazyLinear(K))


WRONG = {
    "no convolution": (linear, {}, "no convolution"),
    "foreign layer": (relu_network, {"layer": lambda model: nn.Conv2d(2, 2, 1)}, "not a module"),
    "no feature maps": (relu_network, {"layer": lambda model: model[6]}, "feature maps"),
    "idle layer": (Unused, {"layer": lambda model: model.idle}, "no gradient"),
    "unread layer": (Unused, {}, "no gradient"),
    "label too large": (relu_network, {"labels": LABELS + 1}, "at most 2"),
    "labels too few": (relu_network, {"labels": LABELS[1:]}, "one per image"),
    "float labels": (relu_network, {"labels": LABELS.double()}, "integer"),
    "one image": (relu_network, {"images": images()[0]}, r"\[N, C, H, W\]"),
    "integer images": (relu_network, {"images": images().byte()}, "floats"),
    "channels": (relu_network, {"images": images().repeat(1, 2, 1, 1)}, "fails on images"),
    "channels of ours": (spiking("resnet14_snn"), {"images": images()[:, :1]}, "2 channel"),
}


@pytest.mark.parametrize(("make", "changes", "message"), WRONG.values(), ids=WRONG)
def test_wrong_input_is_one_clear_line(make, changes, message):
    model = build(make)
    given = {"images": images(), "labels": LABELS, **changes}
    if "layer" in given:
        given["layer"] = given["layer"](model)
    with pytest.raises(InputError, match=message) as caught:
        grad_cam(model, **given)
    assert "\n" not in str(caught.value)


def test_missing_captum_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "captum.attr", None)
    with pytest.raises(InputError, match=r"pip install 'purespike\[explain\]'"):
        grad_cam(build(relu_network), images(), LABELS)


def test_similarity_is_the_cosine():
    torch.manual_seed(4)
    a, b = torch.rand(5, 3, 4, dtype=torch.float64), torch.rand(5, 3, 4, dtype=torch.float64)
    wanted = [(x * y).sum() / (x.square().sum() * y.square().sum()).sqrt() for x, y in zip(a, b, strict=True)]
    torch.testing.assert_close(similarity(a, b), torch.stack(wanted))
    torch.testing.assert_close(similarity(a, 0.3 * a), torch.ones(5, dtype=torch.float64))
    assert similarity(a, a).max() <= 1
    assert not similarity(a, torch.zeros_like(a)).any()
    apart = torch.eye(2).view(2, 1, 2)
    assert not similarity(apart, apart.flip(0)).any()


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (torch.rand(2, 3, 4), torch.rand(2, 4, 3)),
        (torch.rand(2, 1, 3, 4), torch.rand(2, 1, 3, 4)),
        (torch.ones(2, 3, 4).long(), torch.rand(2, 3, 4)),
        ([[1.0]], torch.rand(1, 1, 1)),
    ],
)
def test_similarity_refuses_what_are_no_two_maps(a, b):
    with pytest.raises(InputError):
        similarity(a, b)
