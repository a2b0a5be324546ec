"""The noisy draws of an image: numbered, in blocks with a generator each, and counted by predicted class."""

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn

from purespike.models.answer import logits_of
from purespike.seeding import generator, seeded

BLOCK = 100
"""Draws of one generator; always drawn as a whole, so that a draw depends on its number alone."""


def noises(shape: Sequence[int], first: int, count: int, *stream: object, size: int) -> Iterator[Tensor]:
    """Standard normal draws number ``first`` to ``first + count - 1``, at most ``size`` at a time.

    Drawn on the CPU, so that every device gets the same numbers. Memory does not grow with ``count``.

    Args:
        shape: C, H and W.
        first: number of the first draw, a multiple of :data:`BLOCK`.
        count: number of draws.
        stream: name of the random stream.
        size: largest number of draws in a tensor.

    Yields:
        float32 ``[M, C, H, W]``.
    """
    rows = max(size // BLOCK, 1) * BLOCK
    for start in range(first, first + count, rows):
        stop = min(start + rows, first + count)
        blocks = [
            torch.empty((BLOCK, *shape)).normal_(generator=generator(*stream, number))
            for number in range(start // BLOCK, -(-stop // BLOCK))
        ]
        yield from torch.cat(blocks)[: stop - start].split(size)


@torch.inference_mode()
def count_votes(
    model: nn.Module,
    image: Tensor,
    *stream: object,
    sigma: float,
    classes: int,
    first: int,
    count: int,
    size: int,
    done: Callable[[int], None] = lambda draws: None,
) -> list[int]:
    """Number of noisy copies of an image that a model puts into each class, and last those in none.

    The noise is added to the raw pixels and never clipped, which would void the certificate. A copy with a
    tie, or logits that are not finite, is in no class.

    Args:
        model: images to logits, in evaluation mode; draws of its own are seeded by ``stream`` and the
            number of the draw that starts the forward.
        image: ``[C, H, W]`` in [0, 1], on the device of the model.
        stream: name of the random stream.
        sigma: standard deviation of the noise.
        classes: K.
        first: number of the first draw, a multiple of :data:`BLOCK`.
        count: number of draws.
        size: draws per forward.
        done: function that is told the draws of each forward.

    Returns:
        ``K + 1`` counts, whose sum is ``count``.
    """
    votes = torch.zeros(classes + 1, dtype=torch.long)
    start = first
    for noise in noises(image.shape, first, count, *stream, size=size):
        with seeded(*stream, "model", start, device=image.device):
            logits = logits_of(model, image + sigma * noise.to(image.device))
        votes += torch.bincount(_answers(logits).cpu(), minlength=classes + 1)
        start += len(noise)
        done(len(noise))
    return votes.tolist()


def _answers(logits: Tensor) -> Tensor:
    """The class of the one largest logit, ``[M]``; K where there is none."""
    best, answers = logits.max(1)
    single = ((logits == best[:, None]).sum(1) == 1) & logits.isfinite().all(1)
    return torch.where(single, answers, logits.shape[1])
