"""How far two predictions lie apart."""

from torch import Tensor

from purespike.errors import InputError


def divergence(clean: Tensor, adversarial: Tensor) -> Tensor:
    r"""Kullback-Leibler divergence of softmax predictions, per sample (Zhang et al. 2019, TRADES).

    .. math:: \sum_k p_k (\log p_k - \log q_k), \quad p = \mathrm{softmax}(z), q = \mathrm{softmax}(z')

    Differentiable in both.

    Args:
        clean: logits z of clean images, ``[N, K]``.
        adversarial: logits z' of their adversarial versions, same shape.

    Returns:
        ``[N]``, at least 0 but for rounding.

    Raises:
        InputError: shapes differ.
    """
    if clean.shape != adversarial.shape:
        raise InputError(
            f"divergence: shapes differ, {list(clean.shape)} and {list(adversarial.shape)}; "
            "both must be logits [N, K] of the same images"
        )
    log_p, log_q = clean.log_softmax(1), adversarial.log_softmax(1)
    return (log_p.exp() * (log_p - log_q)).sum(1)
