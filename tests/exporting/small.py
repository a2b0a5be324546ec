"""Small networks whose batch norms have seen something, and whose neurons fire."""

import torch
from torch import nn

import purespike as ps
from purespike.neurons import MultiLevelFiring

SIDE = 16


def classifier(name="resnet14_snn", *, channels=3, **settings):
    torch.manual_seed(0)
    settings = {"width": 0.05, "time_steps": 3, "num_classes": 4, "in_channels": channels, **settings}
    model = ps.models.create(name, **settings)
    model.train()
    with torch.no_grad():
        for module in model.modules():
            # of the usual start no bias, and a shift of 0, would show
            if isinstance(module, nn.BatchNorm2d):
                nn.init.normal_(module.bias, std=0.2)
        for _ in range(2):
            model(torch.rand(6, channels, SIDE, SIDE))
    return model.eval()


def purifier(**settings):
    torch.manual_seed(0)
    model = ps.models.Purifier(width=0.05, time_steps=2, **settings)
    with torch.no_grad():
        for last in (model.denoiser.last, model.estimator.last):
            nn.init.normal_(last.weight, std=0.05)
    return model.eval()


def images(count=5, channels=3, side=SIDE):
    return torch.rand(count, channels, side, side, generator=torch.Generator().manual_seed(1))


def spikes(model, batch):
    """Spikes of each layer of neurons by name, ``[T, N, ...]``, and the logits."""
    found, hooks = {}, []
    for name, module in model.named_modules():
        if isinstance(module, MultiLevelFiring):

            def keep(_, __, output, name=name, steps=module.time_steps):
                found[name] = output.unflatten(0, (steps, -1)).detach()

            hooks.append(module.register_forward_hook(keep))
    with torch.no_grad():
        logits = model(batch)
    for hook in hooks:
        hook.remove()
    return found, logits
