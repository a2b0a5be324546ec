"""Rates of channels pulled towards those that are usual in the image's class (after CARENet)."""

import torch
from torch import Tensor, nn
from torch.nn import functional

TEMPERATURE, MOST = 0.1, 2.0
"""Temperature of the softmax over cosines, and the most that a channel is multiplied by; ours."""


class Recalibration(nn.Module):
    r"""Pull the rate of each channel towards its usual one in the classes that an image resembles.

    After CARENet (Zhang et al., ICDM 2023), of which an abstract alone is public: a channel-wise activation
    recalibration that needs no training. This is our reading of it. With a the rates of an image's channels,
    over time and space, and :math:`m_k` those of class k on clean images, on average:

    .. math:: w = \mathrm{softmax}_k\big(\cos(a, m_k) / 0.1\big), \quad t = \textstyle\sum_k w_k m_k, \quad
        \hat o_c = \Big(1 - \rho + \rho\,\min\big(2, \frac{t_c}{a_c}\big)\Big)\,o_c

    so that the rate becomes :math:`(1 - \rho)\,a_c + \rho\,t_c` of a channel that need not be more than
    doubled. What comes out is no count any more, and every step depends on all of them. Until the objective's
    part ``care`` has recorded the class means, nothing changes.

    Args:
        share: ρ in (0, 1].
        time_steps: T.
        classes: K.
        channels: C of the current; ``None`` for a layer that is not used.
    """

    known: Tensor
    means: Tensor

    def __init__(self, share: float, time_steps: int, classes: int, channels: int | None) -> None:
        super().__init__()
        self.share, self.time_steps = share, time_steps
        self.register_buffer("known", torch.tensor(False))
        self.register_buffer("means", torch.ones(classes, channels or 1))

    def forward(self, spikes: Tensor) -> Tensor:
        """Scaled spikes ``[T·N, C, ...]``, in the shape of ``spikes``."""
        if torch.compiler.is_compiling():
            # an exported program may not ask a tensor
            return torch.where(self.known, self._scaled(spikes), spikes)
        return spikes if spikes.is_meta or not self.known else self._scaled(spikes)

    def _scaled(self, spikes: Tensor) -> Tensor:
        steps = spikes.unflatten(0, (self.time_steps, -1))
        rates, means = channel_rates(steps), self.means.to(steps.dtype)
        likeness = functional.normalize(rates, dim=1) @ functional.normalize(means, dim=1).T
        usual = (likeness / TEMPERATURE).softmax(1) @ means
        relative = usual / rates.clamp_min(torch.finfo(usual.dtype).tiny)
        scale = 1 + self.share * (relative.clamp(max=MOST) - 1)
        return (steps * scale.view(*scale.shape, *[1] * (steps.ndim - 3))).flatten(0, 1)

    def extra_repr(self) -> str:
        return f"share={self.share:g}"


def channel_rates(steps: Tensor) -> Tensor:
    """Mean over time and space of spikes ``[T, N, C, ...]``, ``[N, C]``."""
    return steps.mean(0).flatten(2).mean(2) if steps.ndim > 3 else steps.mean(0)
