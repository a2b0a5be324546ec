"""Training on clean images."""

from torch import Tensor, nn

from purespike.training.objectives.step import Criterion, Step, hits


def plain(model: nn.Module, images: Tensor, labels: Tensor, *, seed: int, criterion: Criterion) -> Step:
    """The criterion on the images as they are; ``seed`` is not used."""
    logits = model(images)
    return Step(criterion(logits, labels), {"accuracy": hits(logits, labels)}, passes=1)
