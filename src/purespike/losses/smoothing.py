"""Online label smoothing: soft labels from the correct predictions of the last epoch."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from purespike.errors import InputError


def smoothed_cross_entropy(
    logits: Tensor, labels: Tensor, soft_labels: Tensor, *, hard: float = 0.5
) -> Tensor:
    r"""Cross-entropy with hard and soft labels (Zhang et al. 2021, Delving Deep into Label Smoothing).

    .. math:: \frac{1}{N}\sum_i -a \log p_i[y_i] - (1 - a) \sum_k S[y_i, k] \log p_i[k]

    Args:
        logits: ``[N, K]``.
        labels: true classes, ``[N]``.
        soft_labels: S, ``[K, K]``; row y is the soft label of class y.
        hard: weight a of the hard labels, in [0, 1].

    Returns:
        Scalar, the mean over samples.

    Raises:
        InputError: shapes do not fit, or ``hard`` is outside [0, 1].
    """
    if not 0 <= hard <= 1:
        raise InputError(f"hard: must lie in [0, 1], got {hard}")
    if logits.ndim != 2 or soft_labels.shape != (logits.shape[1],) * 2:
        raise InputError(
            f"soft labels: shape {list(soft_labels.shape)} does not fit logits {list(logits.shape)}; "
            "K classes need [K, K]"
        )
    # soft targets go to cross_entropy as probabilities
    soft = functional.cross_entropy(logits, soft_labels[labels].to(logits.dtype))
    return hard * functional.cross_entropy(logits, labels) + (1 - hard) * soft


class OnlineLabelSmoothing(nn.Module):
    """:func:`smoothed_cross_entropy` whose soft labels follow the network, epoch by epoch.

    S[y] is the mean softmax over the samples of class y that were classified correctly in the previous
    epoch; uniform in the first epoch and for a class none of whose samples were. A state dict holds S: at the
    end of an epoch, after :meth:`renew`, that is everything.

    Args:
        classes: K, at least 2.
        hard: weight of the hard labels.

    Raises:
        InputError: a setting out of range.
    """

    soft_labels: Tensor
    sums: Tensor
    counts: Tensor

    def __init__(self, classes: int, *, hard: float = 0.5) -> None:
        super().__init__()
        if classes < 2:
            raise InputError(f"classes: label smoothing needs at least 2, got {classes}")
        if not 0 <= hard <= 1:
            raise InputError(f"hard: must lie in [0, 1], got {hard}")
        self.hard = hard
        self.register_buffer("soft_labels", torch.full((classes, classes), 1 / classes))
        self.register_buffer("sums", torch.zeros(classes, classes), persistent=False)
        self.register_buffer("counts", torch.zeros(classes), persistent=False)

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The loss of a training batch, whose correct predictions are added to the sums of this epoch.

        Args:
            logits: ``[N, K]``.
            labels: true classes, ``[N]``.
        """
        loss = smoothed_cross_entropy(logits, labels, self.soft_labels, hard=self.hard)
        with torch.no_grad():
            # one product: a choice of rows would wait for the GPU to tell their number
            right = (logits.argmax(1) == labels).to(self.sums.dtype)
            members = functional.one_hot(labels, len(self.counts)).to(self.sums.dtype) * right[:, None]
            self.sums += members.T @ logits.softmax(1).to(self.sums.dtype)
            self.counts += members.sum(0)
        return loss

    @torch.no_grad()
    def renew(self, reduce: Callable[[Tensor], Tensor] = torch.clone) -> None:
        """End the epoch: the sums become the soft labels of the next one.

        Args:
            reduce: sums a tensor over all processes; every process must call this method.
        """
        classes = len(self.counts)
        found = reduce(torch.cat((self.sums, self.counts[:, None]), 1))
        sums, counts = found[:, :classes], found[:, classes:]
        self.soft_labels.copy_(torch.where(counts > 0, sums / counts.clamp(min=1), 1 / classes))
        self.sums.zero_()
        self.counts.zero_()
