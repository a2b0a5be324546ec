"""Surrogates: derivatives taken for that of the spike in backward, and their written form."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import ClassVar, Literal

import torch
from torch import Tensor

from purespike.errors import InputError, kind_of
from purespike.neurons.adjoint import Activity, Firing, through_time
from purespike.written import Written


@dataclass(frozen=True)
class Surrogate(Written, ABC):
    """Base of all surrogates: a frozen dataclass of positive numbers with one method to write.

    A subclass is registered under its lower-case name and can then be written in a recipe, e.g.
    ``"rectangle(width=0.5)"``; a base of further surrogates is not: ``class Base(Surrogate, abstract=True)``.
    """

    kind: ClassVar[str] = "surrogate"
    pooled: ClassVar[bool] = False
    """Whether neurons of a channel share statistics, for which backward must see all of them at once."""
    remembers: ClassVar[bool] = False
    """Whether the derivative depends on former gradients of the same batch, which must then stay whole."""
    route: ClassVar[Literal["time", "step", "mean"]] = "time"
    """How gradients flow with dynamics other than multi-level firing: through time; or with the membrane
    carried from step to step as a constant, each step for itself, or its mean over the steps."""
    needs_decay: ClassVar[bool] = False
    """Whether the derivative is that of a neuron with one constant share of the membrane kept."""

    def __post_init__(self) -> None:
        for field in fields(self):
            self.check(field.name, positive=True)

    @abstractmethod
    def derivative(self, distance: Tensor) -> Tensor:
        """Derivative of the spike, given the membrane potential minus the threshold, elementwise."""

    def input_gradients(self, firing: Firing) -> list[Tensor]:
        """Gradient of the input of each step: backpropagation through time, unless a surrogate overrides it.

        Both tiers call it, so it is made of plain tensor operations and changes none of its tensors.
        """
        return through_time(firing, lambda t: self.derivative(firing.membranes[t] - firing.threshold))

    def slope(self, distances: list[Tensor], kept: Sequence[Tensor] | None = None) -> Tensor:
        """Derivative of the spike of the last of these steps, for dynamics other than multi-level firing.

        Args:
            distances: membrane minus threshold of all steps so far.
            kept: values that a remembering surrogate keeps of the last step; ``None`` without a memory.
        """
        return self.derivative(distances[-1])

    def slopes(self, activity: Activity) -> list[Tensor]:
        """Derivative of the spike at each step, given all of them; for a ``route`` that is not ``"time"``."""
        return [self.derivative(distance) for distance in activity.distances]

    def relative_slopes(self, activity: Activity) -> list[Tensor]:
        """Derivative at each step as a share of the largest that it could have there, whatever the membrane.

        The largest is taken to be the one at the threshold, unless a surrogate overrides it.
        """
        slopes = [self.derivative(distance) for distance in activity.distances]
        return [slope / self.derivative(slope.new_zeros(1)) for slope in slopes]

    def check_generic(self, dynamics: Written, decay: bool) -> None:
        """Refuse dynamics other than multi-level firing for which this surrogate defines no gradient.

        Args:
            dynamics: named in the message.
            decay: whether the membrane keeps one constant share from step to step.

        Raises:
            InputError: the gradient is written for multi-level firing alone, or needs a constant decay.
        """
        mro = type(self).__mro__
        defined = {
            name: next(i for i, cls in enumerate(mro) if name in cls.__dict__)
            for name in ("input_gradients", "slope", "slopes")
        }
        if min(defined["slope"], defined["slopes"]) > defined["input_gradients"]:
            raise InputError(
                f"surrogate {self.name}: defines input_gradients for multi-level firing alone; for dynamics "
                f"{dynamics.name} define slope or slopes as well"
            )
        if self.needs_decay and not decay:
            raise InputError(
                f"surrogate {self.name}: needs a constant decay, but dynamics {dynamics.name} has none; "
                "choose another surrogate"
            )


@dataclass(frozen=True)
class RememberingSurrogate(Surrogate, abstract=True):
    """Base of surrogates that look back on former gradients of the same batch, as an attack asks for them.

    They remember inside :func:`~purespike.neurons.surrogate_gradient`; elsewhere every gradient is the first.
    """

    remembers: ClassVar[bool] = True
    initial: ClassVar[tuple[float, ...]]
    """Values that a membrane keeps before the first gradient."""

    @abstractmethod
    def remember(self, kept: Sequence[Tensor | float], distance: Tensor) -> Sequence[Tensor]:
        """Values kept after one more gradient, given those before it and the membrane minus the threshold."""

    @abstractmethod
    def recalling(self, kept: Sequence[Tensor], distance: Tensor) -> Tensor:
        """Derivative of the spike, given what is kept, this gradient included."""

    def derivative(self, distance: Tensor) -> Tensor:
        """The derivative at the first gradient."""
        return self.recalling(self.remember(self.initial, distance), distance)

    def slope(self, distances: list[Tensor], kept: Sequence[Tensor] | None = None) -> Tensor:
        return self.derivative(distances[-1]) if kept is None else self.recalling(kept, distances[-1])

    def input_gradients(self, firing: Firing) -> list[Tensor]:
        kept = firing.kept
        if kept is None:
            return super().input_gradients(firing)
        return through_time(firing, lambda t: self.recalling(kept[t], firing.membranes[t] - firing.threshold))


def parse_surrogate(text: str | Surrogate) -> Surrogate:
    """Read a surrogate from its written form, ``"atan"`` or ``"atan(alpha=2)"``.

    Raises:
        InputError: not of that form, unknown name or setting, a setting that is not positive, or a
            derivative of another shape than the membrane's.
    """
    surrogate = Surrogate.parse(text)
    # a model that is read from a file is built without memory first, where a small operation costs seconds
    with torch.device("cpu"):
        distance = torch.linspace(-1, 1, 6).view(6, 1)
        found = surrogate.derivative(distance)
    if not isinstance(found, Tensor) or found.shape != distance.shape:
        raise InputError(
            f"surrogate {surrogate.name}: derivative must return one value for each distance, "
            f"{list(distance.shape)}, got {kind_of(found)}"
        )
    return surrogate
