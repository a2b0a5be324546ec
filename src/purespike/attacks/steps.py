"""Where an iterate may start and how it moves: the geometry of L∞ and L2, and what is made of a gradient."""

import torch
from torch import Tensor

from purespike.budget import parse_eps, parse_radius
from purespike.errors import InputError
from purespike.seeding import generator

NORMS = ("linf", "l2")
RULES = ("steepest", "adaptive")
SCHEDULES = ("constant", "halving")

# of SA-PGD's code: decay of the second moment, and what keeps its root from zero
SECOND_MOMENT = 0.8
XI = 1e-12


def parse_budget(eps: float | str, norm: str) -> float:
    """``eps`` as a float: in [0, 1] for ``"linf"``, a positive radius for ``"l2"``.

    Raises:
        InputError: anything else.
    """
    return parse_eps(eps) if norm == "linf" else parse_radius(eps)


def parse_step(step_size: float | str, norm: str) -> float:
    """``step_size`` as a float: in [0, 1] for ``"linf"``, positive for ``"l2"``.

    Raises:
        InputError: anything else.
    """
    if norm == "linf":
        return parse_eps(step_size, name="step_size")
    try:
        return parse_radius(step_size)
    except InputError:
        raise InputError(
            "step_size: in L2 it must be a positive number or a fraction such as 64/255, in pixel units, "
            f"got {step_size!r}"
        ) from None


def usual_step(eps: float, *, steps: int, norm: str, schedule: str) -> float:
    """The step size of who names none: ``eps`` where it halves, else ``eps / steps``, in L2 2.5 times that.

    2.5 is Madry et al.'s (2018) choice: an iterate can cross the ball. A single step is always ``eps`` long.
    """
    if schedule == "halving" or steps == 1:
        return eps
    return eps / steps if norm == "linf" else 2.5 * eps / steps


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


def random_start(images: Tensor, *, eps: float, norm: str, seed: int) -> Tensor:
    """A draw from the uniform distribution on the ball around each image, clipped to [0, 1].

    In L2: a normal draw for the direction, and the radius ``eps * U ** (1 / d)`` of d pixels.
    """
    directions = torch.Generator().manual_seed(seed)
    if norm == "linf":
        noise = torch.empty(images.shape).uniform_(-eps, eps, generator=directions)
        return (images + noise.to(images)).clamp(0, 1)
    noise = torch.randn(images.shape, generator=directions)
    # a stream of its own: an image's start does not depend on how many images come after it
    shares = torch.rand(len(images), generator=generator(seed, "radius")) ** (1 / images.shape[1:].numel())
    noise = _unit(noise) * eps * shares.view(-1, 1, 1, 1)
    return _around(images, noise.to(images.device), eps)


def into_ball(offset: Tensor, *, eps: float) -> Tensor:
    """``offset`` ``[N, C, H, W]``, scaled down to an L2 norm of ``eps`` where it is longer."""
    length = torch.linalg.vector_norm(offset, dim=(1, 2, 3), keepdim=True)
    return offset * (eps / length.clamp(min=eps))


def _around(clean: Tensor, offset: Tensor, eps: float) -> Tensor:
    """``clean`` moved by ``offset``, in the L2 ball and in [0, 1]."""
    centre = _exact(clean)
    moved = (centre + into_ball(offset, eps=eps)).clamp(0, 1)
    # the sum is rounded, and that of a small ball may round out of it: one step of the grid brings it back
    length = torch.linalg.vector_norm(moved - centre, dim=(1, 2, 3), keepdim=True)
    return torch.where(length > eps, torch.nextafter(moved, centre), moved).to(clean.dtype)


class Ascent:
    r"""Turns gradients into steps; remembers former ones where its rule does.

    ``"steepest"`` follows the gradient :math:`g`, or with momentum :math:`\mu` the sum
    :math:`m \leftarrow \mu m + g / \|g\|_1` (Dong et al. 2018): by its sign in L∞, by its direction
    :math:`m / \|m\|_2` in L2. ``"adaptive"`` is that of SA-PGD (Wang et al. 2025, arXiv 2512.22522), for L∞:

    .. math::
        m \leftarrow \mu m + u, \quad v \leftarrow 0.8 v + u^2 / \overline{u^2}, \quad
        x \leftarrow x + \mathrm{clip}\!\left(\frac{\eta\, m}{\sqrt v + 10^{-12}}, \pm\eta\right), \quad
        u = g / \overline{|g|}

    with means over an image's pixels. A vanished gradient moves nothing that momentum does not.

    Args:
        like: the images, ``[N, C, H, W]``.
        norm: ``"linf"`` or ``"l2"``.
        eps: the budget.
        rule: ``"steepest"`` or ``"adaptive"``.
        momentum: μ, 0 for none.
    """

    def __init__(self, like: Tensor, *, norm: str, eps: float, rule: str, momentum: float) -> None:
        self.norm, self.eps, self.rule, self.momentum = norm, eps, rule, momentum
        adaptive = rule == "adaptive"
        moment = _exact(like) if adaptive or norm == "l2" else like
        self.first = torch.zeros_like(moment) if adaptive or momentum else None
        self.second = torch.zeros_like(moment) if adaptive else None

    def stay(self, rows: Tensor) -> None:
        """Forget all but ``rows``, bool ``[N]``: the others have left."""
        self.first = None if self.first is None else self.first[rows]
        self.second = None if self.second is None else self.second[rows]

    def __call__(self, clean: Tensor, iterate: Tensor, gradient: Tensor, size: float) -> Tensor:
        """The next iterate: inside the ball around ``clean`` and in [0, 1].

        Args:
            clean: centres of the balls, ``[N, C, H, W]``.
            iterate: where the gradient was taken, same shape.
            gradient: of the loss that is to rise, same shape.
            size: of the step, in pixel units; its largest pixel in L∞, its length in L2.
        """
        if self.norm == "l2":
            step = size * _unit(self._direction(_finite(gradient)))
            return _around(clean, _exact(iterate) + step - _exact(clean), self.eps)
        if self.second is not None:
            step = size * self._adaptive(_finite(gradient)).to(iterate.dtype)
        else:
            step = size * self._direction(gradient).sign()
        return (iterate + step).clamp(clean - self.eps, clean + self.eps).clamp(0, 1)

    def _direction(self, gradient: Tensor) -> Tensor:
        if self.first is None:
            return gradient
        self.first = self.momentum * self.first + _over(gradient, gradient.abs().sum((1, 2, 3), keepdim=True))
        return self.first

    def _adaptive(self, gradient: Tensor) -> Tensor:
        assert self.first is not None and self.second is not None
        unit = _over(gradient, gradient.abs().mean((1, 2, 3), keepdim=True))
        square = unit.square()
        self.first = self.momentum * self.first + unit
        self.second = SECOND_MOMENT * self.second + _over(square, square.mean((1, 2, 3), keepdim=True))
        return (self.first / (self.second.sqrt() + XI)).clamp(-1, 1)


def _exact(tensor: Tensor) -> Tensor:
    """In float32 at least: lengths are not to be measured in half precision."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


def _finite(gradient: Tensor) -> Tensor:
    # one pixel that is not finite would take all others with it, where the sign leaves them alone
    return _exact(gradient).nan_to_num(nan=0)


def _over(gradient: Tensor, size: Tensor) -> Tensor:
    # a vanished gradient must not turn into NaN
    return gradient / size.clamp(min=torch.finfo(size.dtype).tiny)


def _unit(gradient: Tensor) -> Tensor:
    """Scaled to an L2 norm of 1 per sample; zero stays zero."""
    # first by the largest pixel: the squares of a small gradient vanish
    scaled = _over(gradient, gradient.abs().amax((1, 2, 3), keepdim=True))
    return _over(scaled, torch.linalg.vector_norm(scaled, dim=(1, 2, 3), keepdim=True))
