"""The base of norm balls, which parse, print, sample, project and step."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from purespike.budget import PARSERS, format_eps, parse_radius
from purespike.errors import InputError, unknown
from purespike.results.vocabulary import NORMS

# half precision holds no bound exactly; of float32 and float64 the rounding of a bound is negligible
_HALF = (torch.float16, torch.bfloat16)


@dataclass(frozen=True)
class Ball(ABC):
    """All images within ``size`` of an image. A subclass with a ``norm`` is registered under that name.

    Reports call the norm by the ``title`` of that subclass.

    Images are ``[N, C, H, W]`` floats in [0, 1]; what a ball returns has the type of ``clean``, the centres.

    Args:
        size: radius, in pixel units.

    Raises:
        InputError: a size that the norm does not allow.
    """

    size: float

    known: ClassVar[dict[str, type["Ball"]]] = {}
    norm: ClassVar[str]
    title: ClassVar[str]
    order: ClassVar[float]
    """The p of the p-norm."""
    rules: ClassVar[tuple[str, ...]] = ("steepest",)
    """Rules of :class:`~purespike.attacks.steps.Ascent` that find their way in it."""

    def __post_init__(self) -> None:
        self.parse_size(self.size)

    def __init_subclass__(cls) -> None:
        # a base of further balls has no norm of its own
        if "norm" not in vars(cls):
            return
        other = Ball.known.get(cls.norm)
        # a cell of a notebook that runs again defines the same class once more
        again = other and (other.__module__, other.__qualname__) == (cls.__module__, cls.__qualname__)
        if not again and cls.norm in (*Ball.known, "noise"):
            raise InputError(f"norm {cls.norm!r} is registered twice; give {cls.__name__} another norm")
        if "title" not in vars(cls):
            raise InputError(f'norm {cls.norm!r}: {cls.__name__} has no title for reports; add title = "…"')
        Ball.known[cls.norm] = cls
        PARSERS[cls.norm] = cls.parse_size
        NORMS[cls.norm] = cls.title

    def __str__(self) -> str:
        return f"{self.title} eps {format_eps(self.size)}"

    @staticmethod
    def named(norm: str) -> type["Ball"]:
        """The class of the balls of ``norm``.

        Raises:
            InputError: unknown norm.
        """
        if norm not in Ball.known:
            raise unknown("norm", str(norm), Ball.known)
        return Ball.known[norm]

    @staticmethod
    def parse(eps: float | str, norm: str = "linf") -> "Ball":
        """The ball of ``norm`` of size ``eps``, a number or a fraction such as ``"8/255"``.

        Raises:
            InputError: unknown norm, or a size that the norm does not allow.
        """
        ball = Ball.named(norm)
        return ball(ball.parse_size(eps))

    @classmethod
    @abstractmethod
    def parse_size(cls, eps: float | str) -> float:
        """``eps`` as a float that may be the size of such a ball.

        Raises:
            InputError: it may not.
        """

    @classmethod
    @abstractmethod
    def parse_step(cls, step_size: float | str) -> float:
        """``step_size`` as a float that may be the length of a step.

        Raises:
            InputError: it may not.
        """

    @property
    @abstractmethod
    def stride(self) -> float:
        """Length of all steps of a default attack together."""

    @abstractmethod
    def per_pixel(self, pixels: int) -> float:
        """Change of each of ``pixels`` pixels at a point of the boundary where all change alike."""

    @abstractmethod
    def lengths(self, offset: Tensor) -> Tensor:
        """Norm of each offset ``[N, C, H, W]``, as ``[N, 1, 1, 1]``, in the type of ``offset``."""

    @abstractmethod
    def unit(self, noise: Tensor) -> Tensor:
        """Noise of pixels in [-1, 1] as offsets of norm at most 1."""

    @abstractmethod
    def boundary(self, shape: torch.Size, draw: torch.Generator) -> Tensor:
        """Random offsets of norm 1: corners in L∞, directions in L2."""

    @abstractmethod
    def interior(self, shape: torch.Size, draw: torch.Generator, *, share: float = 1.0) -> Tensor:
        """Random offsets, uniform in the ball of radius ``share``."""

    def point(
        self, clean: Tensor, draw: torch.Generator, *, share: float = 1.0, corner: bool = False
    ) -> Tensor:
        """One random point of the ball around each image, moved into [0, 1].

        Args:
            clean: centres, ``[N, C, H, W]``.
            draw: generator of the points.
            share: radius of the smaller ball in which the points are uniform.
            corner: whether they lie on the boundary instead.
        """
        shape = clean.shape
        offset = self.boundary(shape, draw) if corner else self.interior(shape, draw, share=share)
        return (clean + self.size * offset.to(clean)).clamp(0, 1)

    @abstractmethod
    def sample(self, clean: Tensor, *, seed: int) -> Tensor:
        """A uniform draw from the ball around each image, moved into [0, 1], given by seed and image."""

    @abstractmethod
    def steepest(self, direction: Tensor) -> Tensor:
        """The offset of norm 1 along which a linear function of this gradient rises most; zero of a zero."""

    @abstractmethod
    def _inside(self, points: Tensor, centre: Tensor) -> Tensor:
        """``points`` moved into the ball and into [0, 1]; both of the same type, float32 or float64."""

    def project(self, images: Tensor, clean: Tensor) -> Tensor:
        """``images`` moved into the ball around ``clean`` and into [0, 1].

        Half-precision results lie in the ball as measured in float64. In float32 and float64 the bound itself
        is rounded to the type.
        """
        centre = exact(clean)
        moved = rounded_to(self._inside(images.to(centre), centre), clean)
        if clean.dtype not in _HALF:
            return moved
        rounded = images.to(clean.dtype).clamp(0, 1)
        return torch.where(self.contains(rounded, clean).view(-1, 1, 1, 1), rounded, moved)

    def distance(self, images: Tensor, clean: Tensor) -> Tensor:
        """Distance of each image from its centre, measured in float64, ``[N]``."""
        return self.lengths(images.double() - clean.double()).flatten()

    def contains(self, images: Tensor, clean: Tensor, *, tolerance: float | None = None) -> Tensor:
        """Whether each image lies in the ball, bool ``[N]``.

        Args:
            images: ``[N, C, H, W]``.
            clean: centres, same shape.
            tolerance: accepted excess, as a distance; by default 1e-6, and none for half precision.
        """
        if tolerance is None:
            tolerance = 0.0 if clean.dtype in _HALF else 1e-6
        return self.distance(images, clean) <= self.size + tolerance


def safe_divide(tensor: Tensor, size: Tensor) -> Tensor:
    """``tensor / size``, and zero where both vanish."""
    return tensor / size.clamp(min=torch.finfo(size.dtype).tiny)


def exact(clean: Tensor) -> Tensor:
    """In a type where bounds and lengths can be computed: float64 for half precision."""
    return clean.double() if clean.dtype in _HALF else clean


def rounded_to(points: Tensor, clean: Tensor) -> Tensor:
    """``points`` in the type of ``clean``; half precision rounds no pixel away from its centre."""
    rounded = points.to(clean.dtype)
    if clean.dtype not in _HALF:
        return rounded
    beyond = (rounded.double() - clean.double()).abs() > (points - clean.double()).abs()
    return torch.where(beyond, torch.nextafter(rounded, clean), rounded)


def parse_length(step_size: float | str, words: str) -> float:
    """A positive step size; ``words`` say in a message what it must be.

    Raises:
        InputError: anything else.
    """
    try:
        return parse_radius(step_size)
    except InputError:
        raise InputError(f"step_size: {words}, got {step_size!r}") from None
