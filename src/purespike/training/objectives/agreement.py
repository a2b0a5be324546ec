"""A purifier behind which the frozen classifier says what it says about the clean image."""

from torch import Tensor

from purespike.errors import InputError
from purespike.training.objectives.batch import View
from purespike.training.objectives.gaussian import answers
from purespike.training.objectives.registry import penalty
from purespike.training.objectives.trades import divergence


@penalty("agreement")
def agreement(view: View) -> Tensor:
    r"""Divergence of the prediction behind the purifier from that on the clean image, which needs no labels.

    .. math:: \frac{1}{N}\sum_i KL(f(x_i) \| f(P(x'_i)))

    The term that the second version of the paper (arXiv 2404.17092 v2) adds to its loss; its weight there is
    not known.

    Raises:
        InputError: no purifier is trained.
    """
    if view.batch.classifier is None:
        raise InputError("classifier.objective: agreement is for a purifier before a frozen classifier")
    return divergence(answers(view.batch).float(), view.logits.float()).mean()
