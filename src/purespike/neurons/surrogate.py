"""Surrogates: what backward takes for the derivative of the spike, and their written form."""

import math
import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import ClassVar

from torch import Tensor

from purespike.errors import InputError, unknown
from purespike.neurons.adjoint import Firing, through_time


@dataclass(frozen=True)
class Surrogate(ABC):
    """Base of all surrogates: a frozen dataclass of positive numbers with one method to write.

    A subclass is registered under its lower-case name and can then be written in a recipe, e.g.
    ``"rectangle(width=0.5)"``; a base of further surrogates is not: ``class Base(Surrogate, abstract=True)``.
    """

    known: ClassVar[dict[str, type["Surrogate"]]] = {}
    pooled: ClassVar[bool] = False
    """Whether neurons of a channel share statistics, for which backward must see all of them at once."""
    remembers: ClassVar[bool] = False
    """Whether the derivative depends on former gradients of the same batch, which must then stay whole."""

    def __init_subclass__(cls, *, abstract: bool = False) -> None:
        if not abstract:
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

    def input_gradients(self, firing: Firing) -> list[Tensor]:
        """Gradient of the input of each step: backpropagation through time, unless a surrogate overrides it.

        Both tiers call it, so it is made of plain tensor operations and changes none of its tensors.
        """
        return through_time(firing, lambda t: self.derivative(firing.membranes[t] - firing.threshold))

    def relative_slopes(self, firing: Firing) -> list[Tensor]:
        """Derivative at each step as a share of the largest that it could have there, whatever the membrane.

        That is taken to be the one at the threshold, unless a surrogate overrides it.
        """
        slopes = [self.derivative(membrane - firing.threshold) for membrane in firing.membranes]
        return [slope / self.derivative(slope.new_zeros(1)) for slope in slopes]

    @property
    def name(self) -> str:
        return type(self).__name__.lower()

    def __str__(self) -> str:
        settings = ", ".join(f"{field.name}={getattr(self, field.name):g}" for field in fields(self))
        return f"{self.name}({settings})"


@dataclass(frozen=True)
class RememberingSurrogate(Surrogate, abstract=True):
    """Base of surrogates that look back on former gradients of the same batch, as an attack asks for them.

    They remember inside :func:`~purespike.neurons.surrogate_gradient`; elsewhere every gradient is the first.
    """

    remembers: ClassVar[bool] = True
    initial: ClassVar[tuple[float, ...]]
    """What a membrane remembers before the first gradient."""

    @abstractmethod
    def remember(self, kept: Sequence[Tensor | float], distance: Tensor) -> Sequence[Tensor]:
        """What is kept after one more gradient, given what was, and the membrane minus the threshold."""

    @abstractmethod
    def recalling(self, kept: Sequence[Tensor], distance: Tensor) -> Tensor:
        """Derivative of the spike, given what is kept, this gradient included."""

    def derivative(self, distance: Tensor) -> Tensor:
        """That of a first gradient."""
        return self.recalling(self.remember(self.initial, distance), distance)

    def input_gradients(self, firing: Firing) -> list[Tensor]:
        kept = firing.kept
        if kept is None:
            return super().input_gradients(firing)
        return through_time(firing, lambda t: self.recalling(kept[t], firing.membranes[t] - firing.threshold))


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
