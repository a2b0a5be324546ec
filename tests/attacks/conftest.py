"""Tiny victims that have learnt a little, so that their gradients lead somewhere."""

import pytest
import torch
from torch import nn

from purespike.attacks import create_attack
from purespike.models import Defended, Purifier, create

from .rows import ROWS

CLASSES = 4


def photographs(count, channels, *, seed):
    """Noisy copies of one pattern per class, and the classes."""
    generator = torch.Generator().manual_seed(seed)
    patterns = torch.rand((CLASSES, channels, 8, 8), generator=torch.Generator().manual_seed(99))
    labels = torch.randint(CLASSES, (count,), generator=generator)
    noise = torch.randn((count, channels, 8, 8), generator=generator)
    return (0.25 + 0.5 * patterns[labels] + 0.12 * noise).clamp(0, 1), labels


def learn(model, channels, *, steps, rate):
    optimiser = torch.optim.Adam(model.parameters(), lr=rate)
    for step in range(steps):
        images, labels = photographs(32, channels, seed=1000 + step)
        loss = nn.functional.cross_entropy(model.train()(images), labels)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
    optimiser.zero_grad(set_to_none=True)
    return model.eval()


def cnn(channels=3):
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(channels, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(8 * 16, CLASSES),
    )
    return learn(model, channels, steps=40, rate=0.01)


def snn():
    torch.manual_seed(0)
    model = create("resnet14_snn", width=1 / 16, num_classes=CLASSES, time_steps=2)
    return learn(model, 3, steps=30, rate=0.01)


def defended():
    torch.manual_seed(0)
    purifier = Purifier(width=1 / 16, time_steps=2)
    nn.init.normal_(purifier.denoiser.last.weight, std=0.05)
    return Defended(purifier, cnn()).eval()


MAKERS = {"cnn": cnn, "one channel": lambda: cnn(1), "snn": snn, "defended": defended}


@pytest.fixture(scope="session")
def trained():
    """Name to model; shared by all tests, which must leave them as they are."""
    return {name: make() for name, make in MAKERS.items()}


@pytest.fixture(params=MAKERS)
def victim(request, trained):
    """A model, images and labels of which it knows most."""
    model = trained[request.param]
    images, labels = photographs(6, 1 if request.param == "one channel" else 3, seed=7)
    assert (model(images).argmax(1) == labels).sum() >= 4
    return model, images, labels


@pytest.fixture
def plain(trained):
    """The CNN alone, with more images."""
    return trained["cnn"], *photographs(16, 3, seed=8)


@pytest.fixture
def spiking(trained):
    """The spiking network alone, with more images."""
    return trained["snn"], *photographs(12, 3, seed=9)


@pytest.fixture(params=ROWS)
def row(request):
    name, settings = ROWS[request.param]
    return name, settings, create_attack(name, **settings, seed=3)
