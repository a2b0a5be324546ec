"""One answer from several passes of a stochastic model."""

import torch
from torch import Tensor
from torch.nn import functional

from purespike.errors import unknown

VOTES = ("mean", "majority")


def check_vote(how: str) -> None:
    """Check the name of a vote.

    Raises:
        InputError: neither ``"mean"`` nor ``"majority"``.
    """
    if how not in VOTES:
        raise unknown("vote", str(how), VOTES)


def vote(logits: Tensor, how: str) -> Tensor:
    """Logits of several passes, ``[passes, N, K]``, to those of their vote, ``[N, K]``.

    ``"mean"`` is the logarithm of the mean probabilities. ``"majority"`` is the share of passes that prefer
    each class; backwards it is taken for the mean of the probabilities, since a count has no gradient.
    """
    probabilities = logits.float().softmax(2)
    if how == "mean":
        return probabilities.mean(0).clamp_min(torch.finfo(torch.float32).tiny).log()
    counts = functional.one_hot(logits.argmax(2), logits.shape[2]).float().mean(0)
    soft = probabilities.mean(0)
    return counts + soft - soft.detach()
