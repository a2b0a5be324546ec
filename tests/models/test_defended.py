import pytest
import torch
from torch import nn

from purespike.models import Defended, Purifier, create


class Blur(nn.Module):
    def forward(self, images):
        return nn.functional.avg_pool2d(images, 3, 1, 1)


def purifier():
    torch.manual_seed(0)
    made = Purifier(width=1 / 8)
    nn.init.normal_(made.denoiser.last.weight, std=0.1)
    nn.init.normal_(made.estimator.last.weight, std=0.1)
    return made


def foreign():
    torch.manual_seed(1)
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 4))


PURIFIERS = {"ours": purifier, "tensor": Blur}
CLASSIFIERS = {"ours": lambda: create("resnet14_snn", width=1 / 16, num_classes=4), "foreign": foreign}


@pytest.mark.parametrize("classifier", CLASSIFIERS.values(), ids=CLASSIFIERS)
@pytest.mark.parametrize("before", PURIFIERS.values(), ids=PURIFIERS)
def test_is_the_classifier_after_the_purifier(before, classifier):
    model = Defended(before(), classifier()).eval()
    images = torch.rand(3, 3, 8, 8)
    purified = model.purifier(images)
    purified = getattr(purified, "images", purified)
    assert not torch.equal(purified, images)
    assert torch.equal(model.purify(images), purified)
    assert torch.equal(model(images), model.classifier(purified))


def test_gradient_goes_through_both():
    model = Defended(purifier(), foreign())
    images = torch.rand(3, 3, 8, 8, requires_grad=True)
    model(images).square().sum().backward()
    assert images.grad.any()
    assert model.purifier.estimator.first.weight.grad.any()
    assert model.classifier[1].weight.grad.any()


def test_config_names_both_parts():
    ours = Defended(purifier(), CLASSIFIERS["ours"]())
    assert ours.config["architecture"] == "defended"
    assert ours.config["purifier"]["architecture"] == "purifier"
    assert ours.config["classifier"]["architecture"] == "resnet14_snn"
    assert Defended(Blur(), ours.classifier).config["purifier"] is None
