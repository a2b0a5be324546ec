"""Drawing a subset with the class shares of the full set."""

import torch
from torch import Tensor


def stratified_indices(labels: Tensor, count: int, *, seed: int) -> Tensor:
    """Draw ``count`` indices so that every class keeps its share to within one.

    The quotas ``count · n_k / N`` are rounded by the largest remainder; within a class the draw is uniform.

    Args:
        labels: int64 ``[N]``, class indices from 0.
        count: number of indices, ``0 <= count <= N``.
        seed: seed of the draw.

    Returns:
        int64 ``[count]``, ascending, without repetition.
    """
    labels = labels.cpu()
    sizes = torch.bincount(labels)
    # whole numbers throughout: float quotas would make ties depend on rounding
    shares = sizes * count
    quotas = shares // len(labels)
    remainders = shares % len(labels)
    left = count - int(quotas.sum())
    quotas[torch.argsort(remainders, descending=True, stable=True)[:left]] += 1

    shuffled = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
    by_class = shuffled[torch.argsort(labels[shuffled], stable=True)]
    starts = sizes.cumsum(0) - sizes
    rank_in_class = torch.arange(len(labels)) - starts.repeat_interleave(sizes)
    chosen = by_class[rank_in_class < quotas.repeat_interleave(sizes)]
    return chosen.sort().values
