"""Multi-level firing neurons as a function and as a module; LIF is the case of one threshold."""

import contextlib
import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any

from torch import Tensor, nn

from purespike.errors import InputError
from purespike.neurons.elementwise_surrogates import Rectangle
from purespike.neurons.kernel import fire
from purespike.neurons.memory import Memory
from purespike.neurons.normalised import fusible, normalise_and_fire
from purespike.neurons.surrogate import Surrogate, parse_surrogate

MLF_THRESHOLDS = (0.6, 1.6, 2.6)
LIF_THRESHOLDS = (0.6,)


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


def check_decay(decay: float) -> float:
    """Return ``decay`` as a float if it lies in [0, 1].

    Raises:
        InputError: it does not.
    """
    if not 0 <= decay <= 1:
        raise InputError(f"decay: must lie in [0, 1], got {decay}")
    return float(decay)


def multi_level_firing(
    current: Tensor,
    *,
    thresholds: Sequence[float] = MLF_THRESHOLDS,
    decay: float = 0.25,
    surrogate: Surrogate | None = None,
    memory: Memory | None = None,
) -> Tensor:
    r"""Multi-level firing (Feng et al. 2022; paper eqs. 5 and 6): K leaky membranes fed by one current.

    .. math:: u_k[t] = d\,u_k[t-1]\,(1 - o_k[t-1]) + x[t], \quad o_k[t] = [u_k[t] \ge V_k], \quad
        \hat o[t] = \textstyle\sum_k o_k[t]

    The reset is hard and differentiable. Spikes depend on nothing but the arguments.

    Args:
        current: input current x, floating point, ``[T, ...]`` with T >= 1.
        thresholds: V_k, positive and ascending.
        decay: d in [0, 1], the share of the membrane potential kept from step to step.
        surrogate: derivative of the spike in backward; default ``Rectangle(width=1)``.
        memory: of these neurons, for a surrogate that remembers; each call with gradients moves it on.

    Returns:
        Spike counts ``0..K``, same shape, type and memory format as ``current``.

    Raises:
        InputError: an integer current, no time step, bad thresholds or decay.

    Example:
        >>> import torch
        >>> multi_level_firing(torch.tensor([[0.5], [0.5], [2.0]])).flatten().tolist()
        [0.0, 1.0, 2.0]
    """
    values = check_thresholds(thresholds)
    decay = check_decay(decay)
    if not current.is_floating_point():
        raise InputError(f"current: expected floating point, got {current.dtype}")
    if current.ndim == 0 or current.shape[0] < 1:
        raise InputError(f"current: expected [T, ...] with T >= 1, got {list(current.shape)}")
    surrogate = surrogate or Rectangle()
    order = _memory_order(current)
    if surrogate.pooled and current.ndim == 5:
        time_steps, images, channels, height, width = current.shape
        rows = current.movedim(2, -1).contiguous()
        flat = rows.reshape(time_steps, images * height * width, channels)
        spikes = fire(flat, time_steps, values, decay, surrogate).view(rows.shape).movedim(-1, 2)
        # in other strides the next convolution might round otherwise, and its spikes depend on the surrogate
        return _undo(spikes.permute(order).contiguous(), order)
    permuted = current.permute(order).contiguous()
    # M in numbers: reshape cannot infer it where a dimension is empty
    flat = permuted.reshape(current.shape[0], current.numel() // current.shape[0])
    layout = (tuple(current.shape), tuple(order))
    spikes = fire(flat, current.shape[0], values, decay, surrogate, memory, layout)
    return _undo(spikes.view(permuted.shape), order)


def _memory_order(current: Tensor) -> list[int]:
    """Dimensions as they lie in memory, time first, so that channels_last needs no copy; else as they are."""
    order = [0, *sorted(range(1, current.ndim), key=current.stride, reverse=True)]
    return order if current.permute(order).is_contiguous() else list(range(current.ndim))


def _undo(permuted: Tensor, order: list[int]) -> Tensor:
    return permuted.permute([order.index(i) for i in range(len(order))])


class MultiLevelFiring(nn.Module):
    """A layer of multi-level firing neurons; see :func:`multi_level_firing`.

    Args:
        thresholds: V_k, positive and ascending.
        decay: share of the membrane potential kept from step to step.
        surrogate: derivative of the spike, as an object or as text; swap it with :func:`surrogate_gradient`.
        time_steps: ``None`` if inputs are ``[T, ...]``; T if time is folded into the first dimension,
            ``[T·N, ...]`` with time outermost, as convolutions take it.
    """

    def __init__(
        self,
        thresholds: Sequence[float] = MLF_THRESHOLDS,
        decay: float = 0.25,
        surrogate: Surrogate | str = "rectangle",
        time_steps: int | None = None,
    ) -> None:
        super().__init__()
        self.thresholds = check_thresholds(thresholds)
        self.decay = check_decay(decay)
        self.surrogate = parse_surrogate(surrogate)
        self.time_steps = time_steps
        self.memory: Memory | None = None

    def __getstate__(self) -> dict[str, Any]:
        # a copy is another model, which nobody asks for gradients of the same images
        return {**self.__dict__, "memory": None}

    def forward(self, current: Tensor, norm: nn.BatchNorm2d | None = None) -> Tensor:
        """Spikes of ``current``; of ``norm(current)`` in one pass if ``norm`` is given and time is folded."""
        if norm is not None:
            if self.time_steps is not None and fusible(norm, current, self.time_steps):
                return normalise_and_fire(
                    current, norm, self.time_steps, self.thresholds, self.decay, self.surrogate, self.memory
                )
            current = norm(current)
        folded = self.time_steps is not None
        if folded:
            current = current.unflatten(0, (self.time_steps, -1))
        spikes = multi_level_firing(
            current,
            thresholds=self.thresholds,
            decay=self.decay,
            surrogate=self.surrogate,
            memory=self.memory,
        )
        return spikes.flatten(0, 1) if folded else spikes

    def extra_repr(self) -> str:
        return f"thresholds={self.thresholds}, decay={self.decay}, surrogate={self.surrogate}"


class LIF(MultiLevelFiring):
    """A layer of leaky integrate-and-fire neurons: multi-level firing with one threshold (paper eq. 5)."""

    def __init__(
        self,
        threshold: float = LIF_THRESHOLDS[0],
        decay: float = 0.25,
        surrogate: Surrogate | str = "rectangle",
        time_steps: int | None = None,
    ) -> None:
        super().__init__((threshold,), decay, surrogate, time_steps)


@contextlib.contextmanager
def surrogate_gradient(model: nn.Module, surrogate: Surrogate | str) -> Iterator[None]:
    """Let every neuron of ``model`` use ``surrogate`` for forwards made inside, and their backwards.

    What the attacker differentiates need not be what was trained. Spikes do not change. The former
    surrogates come back on any exit.

    A surrogate that remembers (:attr:`Surrogate.remembers`) gets a fresh memory in each layer, gone on exit.
    Every forward that records a graph moves it on, so a block is one attack on one batch: its images stay the
    same, in the same order, and each iteration takes one such forward. A batch of another size begins afresh.
    A layer that runs more than once in a forward mixes what it remembers of its runs. A copy of the model
    made inside keeps the surrogate but remembers nothing.

    Args:
        model: any module; neurons are found at every depth, e.g. in both parts of a ``Defended``.
        surrogate: the derivative to use instead.
    """
    neurons = [module for module in model.modules() if isinstance(module, MultiLevelFiring)]
    former = [(neuron.surrogate, neuron.memory) for neuron in neurons]
    replacement = parse_surrogate(surrogate)
    try:
        for neuron in neurons:
            neuron.surrogate = replacement
            neuron.memory = Memory() if replacement.remembers else None
        yield
    finally:
        for neuron, (own, memory) in zip(neurons, former, strict=True):
            neuron.surrogate, neuron.memory = own, memory
