"""Random choices of training: the order of an epoch, its share per process, random shifts and mirrors."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from purespike.seeding import generator


def epoch_order(count: int, *, seed: int, epoch: int) -> Tensor:
    """Permutation ``[count]`` of one epoch, determined by the arguments alone: a resumed run repeats it."""
    return torch.randperm(count, generator=generator("order", seed, epoch))


def shard(indices: Tensor, *, rank: int, world: int) -> Tensor:
    """Every ``world``-th index from ``rank`` on: disjoint, together complete, sizes within one.

    Raises:
        ValueError: ``rank`` is outside ``[0, world)``.
    """
    if not 0 <= rank < world:
        raise ValueError(f"rank must lie in [0, {world}), got {rank}")
    return indices[rank::world]


@dataclass(frozen=True, eq=False)
class Augmentation:
    """One random crop and mirror per image, drawn once and applicable to any images of that count.

    Args:
        rows: int64 ``[N]``, first row of the crop in the padded image, ``0 .. 2 · padding``.
        columns: int64 ``[N]``, first column, same range.
        flip: bool ``[N]``, whether the crop is mirrored left to right.
        padding: zeros added on each side before the crop.
    """

    rows: Tensor
    columns: Tensor
    flip: Tensor
    padding: int


def draw_augmentation(count: int, *, padding: int, flip: bool, generator: torch.Generator) -> Augmentation:
    """Draw offsets uniformly and, if ``flip``, mirror each image with probability one half.

    The tensors lie on the generator's device. ``padding=0, flip=False`` gives the identity.

    Raises:
        ValueError: ``padding`` is negative.
    """
    if padding < 0:
        raise ValueError(f"padding must be at least 0, got {padding}")
    device = generator.device
    rows, columns = torch.randint(2 * padding + 1, (2, count), generator=generator, device=device)
    # drawn even when unused, so that switching the mirror off does not change the later offsets
    mirrored = torch.rand(count, generator=generator, device=device) < 0.5
    return Augmentation(rows, columns, mirrored & flip, padding)


def augment(images: Tensor, augmentation: Augmentation) -> Tensor:
    """Zero-pad, crop back to the original size at each image's offset, then mirror where ``flip`` is set.

    Differentiable in ``images``. The same augmentation moves a clean and an adversarial image alike.

    Args:
        images: ``[N, C, H, W]``, uint8 or float, on any device.
        augmentation: augmentation drawn for ``N`` images.

    Returns:
        Same shape, type and device as ``images``.

    Raises:
        ValueError: the augmentation was drawn for another number of images.
    """
    count, channels, height, width = images.shape
    if len(augmentation.rows) != count:
        raise ValueError(f"augmentation was drawn for {len(augmentation.rows)} images, got {count}")
    device = images.device
    rows, columns, flip = (
        part.to(device).view(count, 1, 1, 1)
        for part in (augmentation.rows, augmentation.columns, augmentation.flip)
    )
    padded = F.pad(images, (augmentation.padding,) * 4)
    across = torch.arange(width, device=device).view(1, 1, 1, width)
    return padded[
        torch.arange(count, device=device).view(count, 1, 1, 1),
        torch.arange(channels, device=device).view(1, channels, 1, 1),
        rows + torch.arange(height, device=device).view(1, 1, height, 1),
        columns + torch.where(flip, width - 1 - across, across),
    ]
