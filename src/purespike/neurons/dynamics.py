"""Dynamics: how membranes move from step to step, and their written form."""

import itertools
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from purespike.errors import InputError
from purespike.written import Written

MLF_THRESHOLDS = (0.6, 1.6, 2.6)
LIF_THRESHOLDS = (0.6,)

Spike = Callable[[Tensor], Tensor]
"""1 where the distance of the membrane from its threshold is at least 0, else 0; differentiated by the
surrogate. Called once a step, on one distance a neuron, or on those of all K thresholds, ``[K, N, ...]``."""
State = tuple[Tensor, ...]


@dataclass(frozen=True)
class Dynamics(Written, ABC):
    """Base of all dynamics: a frozen dataclass of settings with one loop over the steps to write.

    A subclass is registered under its lower-case name and can then be written in a recipe, e.g.
    ``"adaptivelif(rise=0.2)"``; a base of further dynamics is not: ``class Base(Dynamics, abstract=True)``.
    Surrogates, memories, the census, energy and compilation work with any of them.

    Example:
        >>> @dataclass(frozen=True)
        ... class SoftReset(Dynamics):
        ...     threshold: float = 1.0
        ...     decay: float = 0.5
        ...
        ...     def run(self, current, spike, state, tensors):
        ...         membrane, spikes = state[0] if state else 0.0, []
        ...         for x in current:
        ...             membrane = self.decay * membrane + x
        ...             spikes.append(spike(membrane - self.threshold))
        ...             membrane = membrane - self.threshold * spikes[-1]
        ...         return spikes, (membrane,)
        >>> from purespike.neurons import SpikingNeuron
        >>> SpikingNeuron("softreset(decay=1)")(torch.tensor([[0.6], [0.6], [2.0]])).flatten().tolist()
        [0.0, 1.0, 1.0]
    """

    kind: ClassVar[str] = "dynamics"
    exact: ClassVar[bool] = False
    """Whether the derivative is exact: the same under every surrogate and reset."""

    @abstractmethod
    def run(
        self, current: Tensor, spike: Spike, state: State, tensors: Mapping[str, Tensor]
    ) -> tuple[Sequence[Tensor], State]:
        """The loop over the steps, in tensor operations that autograd knows.

        Every neuron is on its own: no operation mixes neurons, images, or steps to come.

        Args:
            current: input current, float32 or float64, time first and channels last: ``[T, N, H, W, C]`` or
                ``[T, N, C]``; flattened to ``[T, M]`` where ``tensors`` hold nothing but scalars and no state
                is carried between calls.
            spike: the spike function, called once a step.
            state: membranes and whatever else a former call returned; empty at first.
            tensors: :meth:`learnable` parameters and :meth:`drawn` random numbers.

        Returns:
            Spikes of each step, in the shape of ``current[0]``, and the state after the last.
        """

    @property
    def thresholds(self) -> tuple[float, ...]:
        """Thresholds at rest, ascending; by default the field ``threshold`` alone."""
        return (float(getattr(self, "threshold")),)  # noqa: B009

    @property
    def levels(self) -> int:
        """K, the most spikes that a neuron emits at one step."""
        return len(self.thresholds)

    def learnable(self, channels: int | None) -> dict[str, Tensor]:
        """Initial values of parameters that training changes, by name; scalars or per channel, ``[C]``.

        Args:
            channels: C of the current; ``None`` where it is not known.
        """
        return {}

    def per_neuron(self, time_steps: int, shape: Sequence[int]) -> dict[str, Tensor]:
        """Initial values of parameters of every single neuron, by name, which training changes.

        A network that has any takes images of one size alone.

        Args:
            time_steps: T.
            shape: shape of the current of one image at one step, ``[C, H, W]`` or ``[C]``.

        Returns:
            Tensors ``[*shape]``, or ``[T, *shape]`` where steps differ; :meth:`run` gets them with the
            channels last.
        """
        return {}

    def recorded(self, time_steps: int, shape: Sequence[int]) -> dict[str, Tensor]:
        """As :meth:`per_neuron`, for constants of every single neuron that a calibration writes."""
        return {}

    @property
    def sized(self) -> bool:
        """Whether single neurons have values of their own."""
        return bool(self.per_neuron(1, (1,)) or self.recorded(1, (1,)))

    def drawn(self, current: Tensor, training: bool) -> dict[str, Tensor]:
        """Random numbers of one call, by name, from torch's global generator.

        They are drawn before the loop, so that it can be computed again in backward.

        Args:
            current: as in :meth:`run`, not flattened.
            training: whether the layer is in training mode.
        """
        return {}

    def drive(self, current: Tensor, tensors: Mapping[str, Tensor]) -> Tensor:
        """The current of neurons whose thresholds are :attr:`thresholds`, for surrogates over all steps.

        By default the current itself; another one where a learned threshold or gain scales it.
        """
        return current

    @property
    def kernel(self) -> "MLF | None":
        """Multi-level firing that equals these dynamics once :meth:`drive` has changed the current.

        Layers then run its fused kernel instead of :meth:`run`, with the gradients that surrogates define for
        multi-level firing; by default there is none.
        """
        return None

    @property
    def whole(self) -> "Dynamics":
        """The same dynamics, hiding no part of their derivative from an attacker who chooses it."""
        return self

    def drives(self, training: bool) -> bool:
        """Whether :meth:`drive` changes the current before the :attr:`kernel`, in this mode of the layer."""
        return True

    def share_kept(self, tensors: Mapping[str, Tensor]) -> float | Tensor | None:
        """Constant share of the membrane kept from step to step, by default the field ``decay``.

        ``None`` where there is no such constant: surrogates that need one are then refused.
        """
        share: float | None = getattr(self, "decay", None)
        return share


@dataclass(frozen=True)
class MLF(Dynamics):
    r"""Multi-level firing (Feng et al. 2022; paper eqs. 5 and 6): K leaky membranes fed by one current.

    .. math:: u_k[t] = d\,u_k[t-1]\,(1 - o_k[t-1]) + x[t], \quad o_k[t] = [u_k[t] \ge V_k], \quad
        \hat o[t] = \textstyle\sum_k o_k[t]

    The reset is hard and differentiable.

    Args:
        thresholds: V_k, positive and ascending.
        decay: d in [0, 1], the share of the membrane potential kept from step to step.

    Raises:
        InputError: bad thresholds or decay.
    """

    thresholds: tuple[float, ...] = MLF_THRESHOLDS
    decay: float = 0.25

    def __post_init__(self) -> None:
        object.__setattr__(self, "thresholds", check_thresholds(self.thresholds))
        if not 0 <= self.decay <= 1:
            raise InputError(f"decay: must lie in [0, 1], got {self.decay}")
        object.__setattr__(self, "decay", float(self.decay))

    @property
    def kernel(self) -> "MLF":
        return self

    def drives(self, training: bool) -> bool:
        return False

    def run(
        self, current: Tensor, spike: Spike, state: State, tensors: Mapping[str, Tensor]
    ) -> tuple[Sequence[Tensor], State]:
        levels = torch.tensor(self.thresholds, dtype=current.dtype, device=current.device)
        levels = levels.view(-1, *[1] * (current.ndim - 1))
        kept = state[0] if state else torch.zeros_like(levels)
        counts: list[Tensor] = []
        for x in current:
            membrane = self.decay * kept + x
            fired = spike(membrane - levels)
            kept = membrane * (1 - fired)
            counts.append(fired.sum(0))
        return counts, (kept,)


def check_thresholds(thresholds: Sequence[float]) -> tuple[float, ...]:
    """Return ``thresholds`` as a tuple if they are positive, finite and strictly ascending.

    Raises:
        InputError: empty, not positive, not finite, or not ascending.
    """
    values = tuple(float(value) for value in thresholds)
    ascending = all(a < b for a, b in itertools.pairwise((0.0, *values, math.inf)))
    if not values or not ascending:
        raise InputError(f"thresholds: must be positive and ascending, got {values}")
    return values


def parse_dynamics(text: str | Dynamics) -> Dynamics:
    """Read dynamics from their written form, e.g. ``"mlf(thresholds=[0.6, 1.6])"`` or ``"adaptivelif"``.

    Raises:
        InputError: not of that form, unknown name or setting, or a setting out of its range.
    """
    return Dynamics.parse(text)
