"""A small spiking classifier that has learnt something, and a purifier that changes images."""

import functools
import json

import torch
from torch import nn

from purespike.models import Defended, Purifier, create

CLASSES = 4


def photographs(count, *, seed, size=12):
    """Noisy copies of one pattern per class, and the classes."""
    draw = torch.Generator().manual_seed(seed)
    patterns = torch.rand((CLASSES, 3, size, size), generator=torch.Generator().manual_seed(99))
    labels = torch.randint(CLASSES, (count,), generator=draw)
    noise = torch.randn((count, 3, size, size), generator=draw)
    return (0.25 + 0.5 * patterns[labels] + 0.15 * noise).clamp(0, 1), labels


def learn(model, steps, rate):
    optimiser = torch.optim.Adam(model.parameters(), lr=rate)
    for step in range(steps):
        images, labels = photographs(32, seed=1000 + step)
        loss = nn.functional.cross_entropy(model.train()(images), labels)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
    optimiser.zero_grad(set_to_none=True)
    return model.eval()


@functools.cache
def spiking():
    torch.manual_seed(0)
    return learn(create("resnet14_snn", width=1 / 16, num_classes=CLASSES, time_steps=2), 30, 0.01)


@functools.cache
def foreign():
    """A classifier that no registry of ours knows."""
    torch.manual_seed(0)
    return learn(nn.Sequential(nn.Flatten(), nn.Linear(3 * 12 * 12, CLASSES)), 30, 0.01)


@functools.cache
def defended(classifier=spiking):
    torch.manual_seed(0)
    purifier = Purifier(width=1 / 16, time_steps=2)
    # a new purifier is the identity; this one is not
    nn.init.normal_(purifier.denoiser.last.weight, std=0.2)
    return Defended(purifier, classifier()).eval()


def plain(evaluation):
    """All of an evaluation but when and how fast."""
    content = json.loads(json.dumps(evaluation.content))
    content.pop("provenance")
    for cell in content["cells"]:
        cell.pop("seconds")
    return content
