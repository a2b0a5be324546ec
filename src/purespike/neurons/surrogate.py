"""Surrogate derivatives: what backward takes for the derivative of the spike."""

import math
import re
from abc import ABC, abstractmethod
from dataclasses import dataclass, fields
from typing import ClassVar

from torch import Tensor

from purespike.errors import InputError, unknown


@dataclass(frozen=True)
class Surrogate(ABC):
    """Base of all surrogates: a frozen dataclass of positive numbers with one method.

    A subclass is registered under its lower-case name and can then be written in a recipe, e.g.
    ``"rectangle(width=0.5)"``.
    """

    known: ClassVar[dict[str, type["Surrogate"]]] = {}

    def __init_subclass__(cls) -> None:
        Surrogate.known[cls.__name__.lower()] = cls

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise InputError(f"surrogate {self.name}: {field.name} must be a number, got {value!r}")
            if not (math.isfinite(value) and value > 0):
                raise InputError(f"surrogate {self.name}: {field.name} must be positive, got {value}")

    @abstractmethod
    def derivative(self, distance: Tensor) -> Tensor:
        """Derivative of the spike, given the membrane potential minus the threshold, elementwise."""

    @property
    def name(self) -> str:
        return type(self).__name__.lower()

    def __str__(self) -> str:
        settings = ", ".join(f"{field.name}={getattr(self, field.name):g}" for field in fields(self))
        return f"{self.name}({settings})"


@dataclass(frozen=True)
class Rectangle(Surrogate):
    r"""``1/width`` where ``|u - V| < width/2``, else 0 (STBP; the paper's, with ``width=1``)."""

    width: float = 1.0

    def derivative(self, distance: Tensor) -> Tensor:
        # compared in place to stay in floating point, which is several times faster on a CPU
        return distance.abs().lt_(self.width / 2).mul_(1 / self.width)


@dataclass(frozen=True)
class Triangle(Surrogate):
    r"""``max(0, width - |u - V|) / width²`` (Esser et al. 2016; SNN-RAT uses ``width=1``)."""

    width: float = 1.0

    def derivative(self, distance: Tensor) -> Tensor:
        return (self.width - distance.abs()).clamp(min=0) * (1 / self.width**2)


@dataclass(frozen=True)
class ATan(Surrogate):
    r"""``(alpha/2) / (1 + (π/2 · alpha · (u - V))²)`` (Fang et al. 2021): never exactly zero."""

    alpha: float = 2.0

    def derivative(self, distance: Tensor) -> Tensor:
        scaled = distance * (math.pi / 2 * self.alpha)
        return (self.alpha / 2) / (scaled * scaled + 1)


def parse_surrogate(text: str | Surrogate) -> Surrogate:
    """Read a surrogate from its written form, ``"atan"`` or ``"atan(alpha=2)"``.

    Raises:
        InputError: not of that form, unknown name or setting, or a setting that is not positive.
    """
    if isinstance(text, Surrogate):
        return text
    match = re.fullmatch(r"\s*(\w+)\s*(?:\((.*)\))?\s*", text)
    if not match:
        raise InputError(f"surrogate {text!r}: write a name and its settings, e.g. atan(alpha=2)")
    name, arguments = match.group(1).lower(), match.group(2) or ""
    if name not in Surrogate.known:
        raise unknown("surrogate", name, Surrogate.known)
    cls = Surrogate.known[name]
    settings: dict[str, float] = {}
    for part in filter(None, (part.strip() for part in arguments.split(","))):
        key, _, value = (piece.strip() for piece in part.partition("="))
        if key not in {field.name for field in fields(cls)}:
            raise unknown(f"setting of surrogate {name}", key, [field.name for field in fields(cls)])
        try:
            settings[key] = float(value)
        except ValueError:
            raise InputError(f"surrogate {text!r}: {key} must be a number, got {value!r}") from None
    return cls(**settings)
