"""Sizes and directions of the steps of an iterated attack."""

import torch
from torch import Tensor

from purespike.ball import Ball, safe_divide

FLIPS = {"flips": (True, True), "flips_add": (True, False), "flips_remove": (False, True)}
"""Rules for L0, and whether they raise and lower pixels."""
RULES = ("steepest", "adaptive", *FLIPS)
SCHEDULES = ("constant", "halving")

# of SA-PGD's code: decay of the second moment, and what keeps its root from zero
SECOND_MOMENT = 0.8
XI = 1e-12


def default_step_size(ball: Ball, *, steps: int, schedule: str) -> float:
    """Default step size: the ball's size for a single step or a halving schedule, else its stride / steps."""
    return ball.size if schedule == "halving" or steps == 1 else ball.stride / steps


def step_sizes(first: float, *, steps: int, schedule: str) -> list[float]:
    """The size of each step.

    ``"halving"`` halves it after 22% of the steps, then after periods that are 3% of the steps shorter each
    time, but never shorter than 6%: the checkpoints of APGD (Croce & Hein 2020), where SA-PGD halves
    unconditionally.
    """
    if schedule == "constant":
        return [first] * steps
    period, shorter, least = (max(int(share * steps), 1) for share in (0.22, 0.03, 0.06))
    sizes: list[float] = []
    while len(sizes) < steps:
        sizes += [first] * period
        first, period = first / 2, max(period - shorter, least)
    return sizes[:steps]


def permitted(rule: str, start: Tensor, clean: Tensor) -> Tensor:
    """``start`` with those changes of ``clean`` that the rule may make; the others are undone."""
    raises, lowers = FLIPS.get(rule, (True, True))
    start = start if lowers else torch.maximum(start, clean)
    return start if raises else torch.minimum(start, clean)


class Ascent:
    r"""Turns gradients into steps; remembers earlier gradients where its rule does.

    ``"steepest"`` follows the gradient :math:`g`, or with momentum :math:`\mu` the sum
    :math:`m \leftarrow \mu m + g / \|g\|_1` (Dong et al. 2018), along the ball's steepest direction: the sign
    in L∞, :math:`m / \|m\|_2` in L2. ``"adaptive"`` is SA-PGD's rule (Wang et al. 2025, arXiv 2512.22522),
    for L∞:

    .. math::
        m \leftarrow \mu m + u, \quad v \leftarrow 0.8 v + u^2 / \overline{u^2}, \quad
        x \leftarrow x + \mathrm{clip}\!\left(\frac{\eta\, m}{\sqrt v + 10^{-12}}, \pm\eta\right), \quad
        u = g / \overline{|g|}

    with means over an image's pixels. A vanished gradient moves nothing that momentum does not.

    ``"flips"``, for L0, turns the pixels of the clean image that promise most, by the same sum m, to 1 or 0:

    .. math:: \mathrm{gain}_i = \max\big(m_i (1 - x_i),\; -m_i x_i\big)

    A step takes up at most ``size`` pixels that were clean; of these and those turned before, the k of
    largest gain stay turned. So every iterate is in the ball, and its pixels are clean, 0 or 1: frames of
    binary events stay binary. ``"flips_add"`` raises pixels only, ``"flips_remove"`` lowers them only.

    Args:
        like: images of the shape and type of the iterates, ``[N, C, H, W]``.
        ball: the budget.
        rule: one of :data:`RULES` that the ball has.
        momentum: decay μ of the sum, 0 for none.
    """

    def __init__(self, like: Tensor, *, ball: Ball, rule: str, momentum: float) -> None:
        self.ball, self.momentum, self.rule = ball, momentum, rule
        adaptive = rule == "adaptive"
        self.first = torch.zeros_like(_exact(like)) if adaptive or momentum else None
        self.second = torch.zeros_like(_exact(like)) if adaptive else None

    def keep_rows(self, rows: Tensor) -> None:
        """Forget all images but ``rows``, bool ``[N]``."""
        self.first = None if self.first is None else self.first[rows]
        self.second = None if self.second is None else self.second[rows]

    def __call__(self, clean: Tensor, iterate: Tensor, gradient: Tensor, size: float) -> Tensor:
        """The next iterate: inside the ball around ``clean`` and in [0, 1].

        Args:
            clean: centres of the balls, ``[N, C, H, W]``.
            iterate: images at which the gradient was taken, same shape.
            gradient: gradient of the loss to be raised, same shape.
            size: norm of the step, in pixel units.
        """
        # one pixel that is not finite would take all others with it
        gradient = _exact(gradient).nan_to_num(nan=0, posinf=0, neginf=0)
        if self.rule in FLIPS:
            return self._flipped(clean, iterate, self._sum(gradient), size)
        steepest = self.second is None
        step = self.ball.steepest(self._sum(gradient)) if steepest else self._adaptive(gradient)
        return self.ball.project(_exact(iterate) + size * step, clean)

    def _sum(self, gradient: Tensor) -> Tensor:
        if self.first is None:
            return gradient
        # first by the largest pixel: a sum of large gradients is infinite
        scaled = safe_divide(gradient, gradient.abs().amax((1, 2, 3), keepdim=True))
        unit = safe_divide(scaled, scaled.abs().sum((1, 2, 3), keepdim=True))
        self.first = self.momentum * self.first + unit
        return self.first

    def _flipped(self, clean: Tensor, iterate: Tensor, slope: Tensor, size: float) -> Tensor:
        raises, lowers = FLIPS[self.rule]
        exact = _exact(clean)
        up, down = slope.clamp(min=0) * (1 - exact) * raises, (-slope).clamp(min=0) * exact * lowers
        gain, turned = torch.maximum(up, down), iterate != clean
        fresh = _largest(gain.masked_fill(turned, 0), max(1, round(size)))
        chosen = _largest(gain.masked_fill(~(fresh | turned), 0), round(self.ball.size))
        return torch.where(chosen, (up > down).to(clean), clean)

    def _adaptive(self, gradient: Tensor) -> Tensor:
        assert self.first is not None and self.second is not None
        unit = safe_divide(gradient, gradient.abs().mean((1, 2, 3), keepdim=True))
        square = unit.square()
        self.first = self.momentum * self.first + unit
        self.second = SECOND_MOMENT * self.second + safe_divide(square, square.mean((1, 2, 3), keepdim=True))
        return (self.first / (self.second.sqrt() + XI)).clamp(-1, 1)


def _largest(gain: Tensor, count: int) -> Tensor:
    """Which pixels of each image have one of the ``count`` largest gains above 0, bool."""
    flat = gain.flatten(1)
    chosen = flat.topk(min(count, flat.shape[1]), dim=1).indices
    return (torch.zeros_like(flat, dtype=torch.bool).scatter_(1, chosen, True) & (flat > 0)).view_as(gain)


def _exact(tensor: Tensor) -> Tensor:
    """In float32 at least: lengths are not to be measured in half precision."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))
