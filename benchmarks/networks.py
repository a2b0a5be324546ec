"""SENet18-SNN, the same network with ReLUs, and the same network with somebody else's neurons."""

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.peers import Firing, Folded
from purespike.models import SpikingClassifier, create
from purespike.neurons import MultiLevelFiring

LEARNING_RATE = 0.01


def senet(device: str, *, time_steps: int = 4, width: float = 1.0) -> SpikingClassifier:
    torch.manual_seed(0)
    return create("senet18_snn", time_steps=time_steps, width=width).to(device)


def _replaced(model: nn.Module, make: Callable[[MultiLevelFiring], nn.Module]) -> nn.Module:
    model = copy.deepcopy(model)
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, MultiLevelFiring):
                setattr(module, name, make(child))
    return model


def with_neurons(model: SpikingClassifier, firing: Firing) -> nn.Module:
    """The same weights, with neurons of ``firing``."""
    return _replaced(model, lambda own: Folded(firing, own.thresholds, own.time_steps or 1))


class ReluNetwork(nn.Module):
    """The same layers and weights with ReLUs for neurons and no time: an ordinary network.

    Fed with T·N images it does the convolutions that a spiking network of T steps does on N.
    """

    def __init__(self, model: SpikingClassifier) -> None:
        super().__init__()
        self.model = _replaced(model, lambda _: nn.ReLU())

    def forward(self, images: Tensor) -> Tensor:
        model = self.model
        features = model.body(model.stem(model.normalise(images)))  # type: ignore[operator]
        return model.readout(features.mean((2, 3)))  # type: ignore[operator]


def batch(count: int, device: str, size: int = 32) -> tuple[Tensor, Tensor]:
    """Seeded noise for images, and classes."""
    generator = torch.Generator().manual_seed(1)
    images = torch.rand(count, 3, size, size, generator=generator).to(device)
    return images, torch.randint(10, (count,), generator=generator).to(device)


def training_step(
    model: nn.Module, images: Tensor, labels: Tensor, precision: str = "fp32"
) -> Callable[[], object]:
    """One step of SGD with momentum, as training does it."""
    optimiser = torch.optim.SGD(model.parameters(), lr=LEARNING_RATE, momentum=0.9)

    def step() -> None:
        model.train()
        with torch.autocast(images.device.type, torch.bfloat16, enabled=precision == "bf16"):
            loss = functional.cross_entropy(model(images).float(), labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()

    return step


def multiplications(model: nn.Module, images: Tensor) -> int:
    """Multiply-accumulates of all convolutions and linear layers in one forward."""
    total = 0

    def count(module: nn.Module, _: object, output: Tensor) -> None:
        nonlocal total
        if isinstance(module, nn.ConvTranspose2d):
            # one application of the kernel per input pixel; stride equals kernel size here
            total += output.numel() * module.in_channels
        elif isinstance(module, nn.Conv2d):
            total += output.numel() * module.weight[0].numel()
        elif isinstance(module, nn.Linear):
            total += output.numel() * module.in_features

    hooks = [module.register_forward_hook(count) for module in model.modules()]
    try:
        with torch.no_grad():
            model(images)
    finally:
        for hook in hooks:
            hook.remove()
    return total
