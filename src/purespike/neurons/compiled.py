"""The compiled tier: one specialised kernel per setting, with eager execution as the floor."""

import functools
import os
import types
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

# Below this many elements a launch of compiled code costs more than the eager loop saves.
SMALLEST = 1 << 15
# Elements of one time step that the eager tier works on at a time, per thread: 256 KiB in float32.
CACHED = 1 << 16

Function = Callable[..., Tensor]

_broken: list[str] = []


def enabled() -> bool:
    """Whether large tensors go through compiled kernels; ``PURESPIKE_COMPILE=0`` turns that off."""
    return os.environ.get("PURESPIKE_COMPILE", "1") != "0" and not _broken


def run(
    function: Function, tensors: tuple[Tensor, ...], settings: tuple[Any, ...], *, split: bool = True
) -> Tensor:
    """Call ``function(tensors, *settings)``, compiled where that pays and works, else eagerly.

    Args:
        function: a module-level function of a tuple of tensors, followed by hashable settings. Its result is
            like the first tensor.
        tensors: contiguous; ``[T, M]``, ``[T, M, C]`` or ``[C]``.
        settings: constants of the compiled code; each distinct value compiles once.
        split: whether no row (second dimension) of the result depends on another, so that the eager tier may
            work on a few at a time.
    """
    if torch.compiler.is_compiling():
        return function(tensors, *settings)
    if tensors[0].numel() < SMALLEST or not enabled():
        return _eager(function, tensors, settings, split)
    try:
        for tensor in tensors:
            # sizes vary from batch to batch and layer to layer; time steps are a constant of the code
            for dimension in range(min(1, tensor.ndim - 1), tensor.ndim):
                torch._dynamo.maybe_mark_dynamic(tensor, dimension)
        # autocast changes nothing in these functions, but where it is on they would be compiled once more
        with torch.autocast(tensors[0].device.type, enabled=False):
            return _compiled(function, settings, _guarded(tensors))(*tensors)
    except torch.OutOfMemoryError:
        raise
    except Exception as error:
        # whatever went wrong in the compiler, the eager loop gives the same answer
        result = _eager(function, tensors, settings, split)
        _broken.append(str(error))
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        warnings.warn(
            f"purespike: compiled neurons are unavailable, using the slower eager ones ({first}); "
            "is a C++ compiler installed?",
            RuntimeWarning,
            stacklevel=2,
        )
        return result


def _eager(function: Function, tensors: tuple[Tensor, ...], settings: tuple[Any, ...], split: bool) -> Tensor:
    """On a CPU few rows at a time, so that what is computed in between stays in its cache."""
    first = tensors[0]
    rows = max(1, CACHED * torch.get_num_threads() * len(first) * first.shape[1] // max(1, first.numel()))
    if not split or first.device.type != "cpu" or first.shape[1] <= rows:
        return function(tensors, *settings)
    result = torch.empty_like(first)
    for start in range(0, first.shape[1], rows):
        part = slice(start, start + rows)
        pieces = tuple(tensor[:, part] if tensor.ndim > 1 else tensor for tensor in tensors)
        result[:, part] = function(pieces, *settings)
    return result


def _guarded(tensors: tuple[Tensor, ...]) -> tuple[Any, ...]:
    """What dynamo compiles again for, beside sizes."""
    kinds = tuple((tensor.dtype, tensor.device, tensor.is_inference()) for tensor in tensors)
    return torch.get_num_threads(), kinds


@functools.cache
def _compiled(function: Function, settings: tuple[Any, ...], guarded: tuple[Any, ...]) -> Function:
    # dynamo refuses code that it compiled too often, so each case gets copies of its own: of the function,
    # and of the wrapper around it
    number = _compiled.cache_info().misses
    inner = _renamed(function, f"{function.__name__}_{number}")

    def call(*tensors: Tensor) -> Tensor:
        return inner(tensors, *settings)

    # with threads fixed at compilation the code would hang in a forked worker, which has but one
    return torch.compile(
        _renamed(call, f"call_{inner.__name__}"), fullgraph=True, options={"cpp.dynamic_threads": True}
    )


def _renamed(function: Any, name: str) -> types.FunctionType:
    code = function.__code__.replace(co_name=name)
    return types.FunctionType(code, function.__globals__, name, function.__defaults__, function.__closure__)
