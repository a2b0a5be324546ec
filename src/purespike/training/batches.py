"""The batches of one epoch, and this process's share of them."""

import math
from collections.abc import Iterator

from accelerate import Accelerator
from torch import Tensor

from purespike.data import Augmentation, draw_augmentation, epoch_order, shard
from purespike.recipe import Training
from purespike.seeding import generator


def batch_count(count: int, recipe: Training) -> int:
    """Number of batches in an epoch of ``count`` images; the last may be too small to share, and left out."""
    return math.ceil(count / recipe.batch_size)


def batches(
    count: int, recipe: Training, *, seed: int, epoch: int, accelerator: Accelerator
) -> Iterator[tuple[Tensor, Augmentation]]:
    """Indices and augmentation of each batch, equal in number and size over all processes.

    They depend on seed, epoch and the number of processes alone: a resumed run draws the same ones.

    Args:
        count: images in the training set.
        recipe: batch size (over all processes together), crop and flip.
        seed: seed of the run.
        epoch: counted from 1.
        accelerator: the processes.
    """
    world, rank = accelerator.num_processes, accelerator.process_index
    order = epoch_order(count, seed=seed, epoch=epoch)
    for start in range(0, count, recipe.batch_size):
        rows = order[start : start + recipe.batch_size]
        # gradients are averaged over processes, so each needs the same number of images
        rows = shard(rows[: len(rows) - len(rows) % world], rank=rank, world=world)
        if len(rows):
            draws = generator(seed, "augment", epoch, start, rank)
            yield (
                rows,
                draw_augmentation(len(rows), padding=recipe.crop_padding, flip=recipe.flip, generator=draws),
            )
