"""Currents ``[T, ...]`` in the order in which they lie in memory, so that channels_last needs no copy."""

from torch import Tensor

from purespike.errors import InputError


def check_current(current: Tensor) -> None:
    """Refuse a current that is no floating point ``[T, ...]`` with T >= 1.

    Raises:
        InputError: the message names type or shape.
    """
    if not current.is_floating_point():
        raise InputError(f"current: expected floating point, got {current.dtype}")
    if current.ndim == 0 or current.shape[0] < 1:
        raise InputError(f"current: expected [T, ...] with T >= 1, got {list(current.shape)}")


def memory_order(current: Tensor) -> list[int]:
    """Dimensions as they lie in memory, time first; as they are where memory has gaps."""
    order = [0, *sorted(range(1, current.ndim), key=current.stride, reverse=True)]
    return order if current.permute(order).is_contiguous() else list(range(current.ndim))


def flatten(rows: Tensor) -> Tensor:
    """``[T, ...]`` to ``[T, M]``."""
    # M in numbers: reshape cannot infer it where a dimension is empty
    return rows.reshape(rows.shape[0], rows.numel() // rows.shape[0])


def channels_last(values: Tensor, dimensions: int) -> Tensor:
    """Values of single neurons, channels first in the last ``dimensions``, with the channels last."""
    return values.movedim(-dimensions, -1).contiguous()


def undo(rows: Tensor, order: list[int]) -> Tensor:
    """The permutation by ``order`` taken back."""
    return rows.permute([order.index(i) for i in range(len(order))])


def restore(rows: Tensor, current: Tensor, order: list[int]) -> Tensor:
    """``rows``, computed from ``current`` permuted by ``order``, in its shape and memory format."""
    rows = undo(rows.view([current.shape[i] for i in order]), order)
    own = memory_order(current)
    # in other strides the next convolution might round otherwise, and its spikes depend on the surrogate
    return undo(rows.permute(own).contiguous(), own)
