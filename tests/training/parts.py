"""Parts of objectives for tests, registered by importing this module; and a command that knows them."""

import copy
from collections.abc import Iterator

import torch
from torch import nn

from purespike.models import SpikingClassifier
from purespike.models.registry import register
from purespike.models.resnet import resnet14_snn
from purespike.training.objectives import (
    Batch,
    Objective,
    Stage,
    Step,
    View,
    objective,
    penalty,
    projection,
)
from training.tiny import command


@register
def dropout_snn(settings):
    """A stochastic network: a random half of the last spikes is dropped, from the global generator."""
    model = resnet14_snn(settings)
    model.body = nn.Sequential(model.body, nn.Dropout(0.5))
    return model


@register
def shallow_snn(settings):
    """One layer of neurons, which trains in seconds."""
    neurons, (width,) = settings.neurons(), settings.channels(64)
    stem = nn.Sequential(nn.Conv2d(settings.frame_channels, width, 3, padding=1), neurons.norm(width))
    return SpikingClassifier(stem, neurons.make(width), width, settings, neurons)


@penalty("random_logits")
def random_logits(view: View, *, scale: float = 0.1) -> torch.Tensor:
    """A random loss: the logits along a random direction."""
    return scale * (view.logits * torch.randn_like(view.logits)).sum(1).mean()


@projection("jitter")
def jitter(model: nn.Module, *, size: float = 1e-3) -> None:
    """A random change of every weight, which must be the same in every process."""
    for parameter in model.parameters():
        parameter.add_(size * torch.randn_like(parameter))


@objective("halves")
def halves(batch: Batch) -> Iterator[Step]:
    """Two steps of the optimiser a batch: on its images, then on images that the first gradient moved."""
    images = batch.images.clone().requires_grad_()
    for shown in (images, None):
        shown = (batch.images + 0.01 * images.grad.sign()) if shown is None else shown
        (view,) = batch.forward(shown)
        yield Step(batch.criterion(view.logits, batch.labels), passes=1)


@objective("follow")
class Follow(Objective):
    """Predictions near those of a teacher: the network as it was before the first epoch, moved at random."""

    def __init__(self, *, noise: float = 0.1) -> None:
        self.noise = noise
        self.calls: list[str] = []

    def prepare(self, stage: Stage) -> None:
        self.calls.append("prepare")
        self.teacher = copy.deepcopy(stage.model).eval()
        with torch.no_grad():
            for parameter in self.teacher.parameters():
                parameter.add_(self.noise * torch.randn_like(parameter))
        stage.model.readout.bias.data.fill_(0.5)

    def finish(self, stage: Stage) -> None:
        self.calls.append("finish")
        stage.model.readout.bias.data.fill_(-0.25)

    def state(self) -> dict[str, torch.Tensor]:
        return self.teacher.state_dict()

    def restore(self, stage: Stage, state: dict[str, torch.Tensor]) -> None:
        self.calls.append("restore")
        self.teacher = copy.deepcopy(stage.model).eval()
        self.teacher.load_state_dict(state)

    def __call__(self, batch: Batch) -> Step:
        with torch.no_grad():
            target = self.teacher(batch.images).softmax(1)
        (view,) = batch.forward(batch.images)
        return Step(nn.functional.cross_entropy(view.logits, target), passes=2)


def command_with_parts(arguments: list[str]) -> None:
    """``purespike ARGUMENTS`` in a process of its own, which knows the parts of this module."""
    command(arguments)
