"""The time that a training will take, said before it begins."""

import copy
import time

import torch
from torch import Tensor, nn

from purespike.progress import Bar, duration
from purespike.recipe import Training
from purespike.seeding import seeded

# shorter trainings are over before an estimate is
WORTH = 20_000
IMAGES = 8


def say_estimate(
    progress: Bar, what: str, model: nn.Module, sample: Tensor, recipe: Training, count: int
) -> None:
    """Say what is trained, how much, and about how long, measured by two steps of a copy of the model.

    The time is that of training on clean images; an objective that attacks its images takes a multiple.

    Args:
        progress: display of the training.
        what: the network, in words.
        model: the network; it is not changed.
        sample: some images, ``[N, C, H, W]`` floats in [0, 1].
        recipe: epochs, or minutes, which need no estimate.
        count: images of an epoch.
    """
    if recipe.minutes is not None:
        progress.say(f"{what}, {recipe.minutes:g} min on {count:,} images")
        return
    total = recipe.epochs * count
    about = ""
    if total >= WORTH:
        seconds = seconds_per_image(model, sample[:IMAGES])
        about = f", about {duration(seconds * total)} on {sample.device.type} by a trial step on plain images"
    progress.say(f"{what}, {recipe.epochs} epochs of {count:,} images{about}")


def seconds_per_image(model: nn.Module, images: Tensor) -> float:
    """Time of a forward and backward pass of an image in training mode, on a copy of ``model``."""
    copied = copy.deepcopy(model).train()
    taken = 0.0
    with seeded("estimate", device=images.device), torch.enable_grad():
        # the first step warms up
        for _ in range(2):
            begun = time.monotonic()
            output = copied(images)
            output = output if isinstance(output, Tensor) else output.images
            output.float().sum().backward()
            if images.device.type == "cuda":
                torch.cuda.synchronize(images.device)
            taken = time.monotonic() - begun
    return taken / len(images)
