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

_broken: list[str] = []


def enabled() -> bool:
    """Whether large tensors go through compiled kernels; ``PURESPIKE_COMPILE=0`` turns that off."""
    return os.environ.get("PURESPIKE_COMPILE", "1") != "0" and not _broken


def run(function: Callable[..., Tensor], tensors: tuple[Tensor, ...], settings: tuple[Any, ...]) -> Tensor:
    """Call ``function(*tensors, *settings)``, compiled where that pays and works, else eagerly.

    Args:
        function: a module-level function of tensors followed by hashable settings.
        tensors: contiguous inputs ``[T, M]``.
        settings: constants of the compiled code; each distinct value compiles once.
    """
    if tensors[0].numel() < SMALLEST or not enabled() or torch.compiler.is_compiling():
        return function(*tensors, *settings)
    try:
        for tensor in tensors:
            # sizes vary from batch to batch; thresholds and time steps stay constants of the code
            torch._dynamo.maybe_mark_dynamic(tensor, 1)
        return _compiled(function, settings)(*tensors)
    except Exception as error:
        # whatever went wrong in the compiler, the eager loop gives the same answer
        result = function(*tensors, *settings)
        _broken.append(str(error))
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        warnings.warn(
            f"purespike: compiled neurons are unavailable, using the slower eager ones ({first}); "
            "is a C++ compiler installed?",
            RuntimeWarning,
            stacklevel=2,
        )
        return result


@functools.cache
def _compiled(function: Callable[..., Tensor], settings: tuple[Any, ...]) -> Callable[..., Tensor]:
    # dynamo counts recompilations per code object, so each setting gets a copy of its own
    code = function.__code__
    clone = types.FunctionType(
        code.replace(co_name=f"{code.co_name}_{len(_names)}"),
        function.__globals__,
    )
    _names.append(clone.__name__)

    def specialised(*tensors: Tensor) -> Tensor:
        return clone(*tensors, *settings)

    # the wrapper too: its code object would otherwise be shared by all settings
    specialised = types.FunctionType(
        specialised.__code__.replace(co_name=f"call_{clone.__name__}"),
        specialised.__globals__,
        closure=specialised.__closure__,
    )
    return torch.compile(specialised, fullgraph=True)


_names: list[str] = []
