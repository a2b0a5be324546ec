"""Multi-level firing as a function: the fused kernel for a current of any shape and memory format."""

from collections.abc import Sequence

from torch import Tensor

from purespike.neurons.dynamics import MLF, MLF_THRESHOLDS
from purespike.neurons.elementwise_surrogates import Rectangle
from purespike.neurons.kernel import fire
from purespike.neurons.layout import check_current, flatten, memory_order, restore, undo
from purespike.neurons.memory import Memory
from purespike.neurons.reset import Reset, parse_reset
from purespike.neurons.surrogate import Surrogate
from purespike.neurons.watched import Statistic, fire_watched


def multi_level_firing(
    current: Tensor,
    *,
    thresholds: Sequence[float] = MLF_THRESHOLDS,
    decay: float = 0.25,
    surrogate: Surrogate | None = None,
    memory: Memory | None = None,
    reset: Reset = "attached",
) -> Tensor:
    r"""Multi-level firing (Feng et al. 2022; paper eqs. 5 and 6): K leaky membranes fed by one current.

    .. math:: u_k[t] = d\,u_k[t-1]\,(1 - o_k[t-1]) + x[t], \quad o_k[t] = [u_k[t] \ge V_k], \quad
        \hat o[t] = \textstyle\sum_k o_k[t]

    The reset is hard. Spikes depend on nothing but the arguments.

    Args:
        current: input current x, floating point, ``[T, ...]`` with T >= 1.
        thresholds: V_k, positive and ascending.
        decay: d in [0, 1], the share of the membrane potential kept from step to step.
        surrogate: derivative of the spike in backward; default ``Rectangle(width=1)``.
        memory: memory of these neurons, for a surrogate that remembers; each call with gradients moves it on.
        reset: whether gradients flow through the reset: ``"attached"`` or ``"detached"``.

    Returns:
        Spike counts ``0..K``, same shape, type and memory format as ``current``.

    Raises:
        InputError: an integer current, no time step, bad thresholds or decay, or an unknown reset.

    Example:
        >>> import torch
        >>> multi_level_firing(torch.tensor([[0.5], [0.5], [2.0]])).flatten().tolist()
        [0.0, 1.0, 2.0]
    """
    dynamics = MLF(tuple(thresholds), decay)
    return fire_levels(current, dynamics, surrogate or Rectangle(), memory, parse_reset(reset))


def fire_levels(
    current: Tensor, dynamics: MLF, surrogate: Surrogate, memory: Memory | None, reset: Reset
) -> Tensor:
    check_current(current)
    time_steps, attached = len(current), reset == "attached"
    if surrogate.pooled and current.ndim == 5:
        order = [0, 1, 3, 4, 2]
        rows = current.permute(order).contiguous()
        flat = rows.reshape(time_steps, rows.shape[1:-1].numel(), rows.shape[-1])
        return restore(fire(flat, time_steps, dynamics, surrogate, attached=attached), current, order)
    order = memory_order(current)
    permuted = current.permute(order).contiguous()
    layout = (tuple(current.shape), tuple(order))
    spikes = fire(flatten(permuted), time_steps, dynamics, surrogate, memory, layout, attached)
    return undo(spikes.view(permuted.shape), order)


def fire_levels_watched(
    current: Tensor, dynamics: MLF, surrogate: Surrogate, reset: Reset, statistics: tuple[Statistic, ...]
) -> tuple[Tensor, ...]:
    """:func:`fire_levels`, and the statistics of ``fire_watched``; channels are the third dimension."""
    check_current(current)
    rows = (current.movedim(2, -1) if current.ndim > 2 else current[..., None]).contiguous()
    flat = rows.view(len(rows), rows.shape[1:-1].numel(), rows.shape[-1])
    found = fire_watched(flat, len(rows), dynamics, surrogate, statistics, reset == "attached")
    spikes = found[0].view(rows.shape)
    return spikes.movedim(-1, 2) if current.ndim > 2 else spikes[..., 0], *found[1:]
