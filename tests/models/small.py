"""Small models, whose statistics and weights differ from their start."""

import torch
from torch import nn

from purespike.models import Purifier, create


def classifier(name="resnet14_snn", **settings):
    torch.manual_seed(0)
    model = create(name, **{"width": 1 / 16, "num_classes": 4, **settings})
    for _ in range(3):  # running statistics that differ from their start
        model(torch.rand(4, model.in_channels, 8, 8))
    return model.eval()


def purifier(**settings):
    torch.manual_seed(0)
    model = Purifier(width=1 / 8, **settings)
    nn.init.normal_(model.denoiser.last.weight, std=0.1)
    return model
