"""The compiled tier: one specialised kernel per setting, with eager execution as the floor."""

import contextlib
import functools
import math
import os
import types
import warnings
from collections.abc import Callable, Hashable, Iterator
from typing import Any

import torch
from torch import Tensor

# Below this many elements a launch of compiled code costs more than the eager loop saves.
SMALLEST = 1 << 15
# Elements that a kernel has to see before its compilation, some seconds, has paid: on a CPU 3e7 of them save
# about as much, and the layers of a network share it; a GPU gets through far more of them in that time.
WORTH = {"cpu": 1e7, "cuda": 3e10}
# Elements of one time step that the eager tier works on at a time, per thread: 256 KiB in float32.
CACHED = 1 << 16

Function = Callable[..., Any]

_broken: list[str] = []
_passes: list[float] = [math.inf]
_refused: set[Hashable] = set()


def enabled() -> bool:
    """Whether large tensors go through compiled kernels; ``PURESPIKE_COMPILE=0`` turns that off."""
    return os.environ.get("PURESPIKE_COMPILE", "1") != "0" and not _broken


def failure() -> str | None:
    """Why compilation was given up in this process; ``None`` if it was not."""
    return _broken[0] if _broken else None


@contextlib.contextmanager
def expecting(passes: float) -> Iterator[None]:
    """Compile nothing inside for a tensor that is small enough for ``passes`` forwards to be over sooner.

    Without it, compiled kernels are taken to be used for long, as in training. An attacker who tries many
    surrogates on few images would spend more time on their kernels than on the attack. The choice depends on
    what is asked for, not on what was compiled before, so that a number does not depend on that either.

    Args:
        passes: forwards of the model on the batch; its backwards are not counted.
    """
    _passes.append(passes)
    try:
        yield
    finally:
        _passes.pop()


def _pays(tensor: Tensor) -> bool:
    size, worth = tensor.numel(), WORTH.get(tensor.device.type, WORTH["cpu"])
    return size >= SMALLEST and size * _passes[-1] >= worth and enabled()


def run(
    function: Function,
    tensors: tuple[Tensor, ...],
    settings: tuple[Any, ...],
    *,
    eager: Function | None = None,
    split: bool = True,
) -> Any:
    """Call ``function(tensors, *settings)``, compiled where that pays and works, else eagerly.

    Args:
        function: a module-level function of a tuple of tensors, followed by hashable settings. Its result is
            like the first tensor where it may be ``split``.
        tensors: contiguous; ``[T, M]``, ``[T, M, C]`` or ``[C]``.
        settings: constants of the compiled code; each distinct value compiles once.
        eager: function with the same result that the eager tier calls; by default ``function``.
        split: whether no row (second dimension) of the result depends on another, so that the eager tier may
            work on a few at a time.
    """
    if torch.compiler.is_compiling():
        return function(tensors, *settings)
    if not _pays(tensors[0]):
        return _eager(eager or function, tensors, settings, split)
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
        result = _eager(eager or function, tensors, settings, split)
        _broken.append(str(error))
        _warn("compiled neurons are unavailable, using the slower eager ones", error)
        return result


def differentiable(
    function: Function,
    tensors: tuple[Tensor, ...],
    settings: tuple[Any, ...],
    *,
    eager: Callable[[], Any],
    subject: Hashable,
) -> Any:
    """Call ``function(tensors, *settings)``, compiled with its backward where that pays and works.

    Compiled code keeps nothing but ``tensors`` for backward and computes the rest again.

    Args:
        function: a module-level function of a tuple of tensors, followed by hashable settings, that autograd
            differentiates.
        tensors: contiguous, the first ``[T, ...]``; others hold the same neurons in their last dimensions, or
            have fewer, whose sizes are constants of the code.
        settings: constants of the compiled code; each distinct value compiles once.
        eager: the same result without compilation.
        subject: one that cannot be compiled stays eager from then on, after one warning.
    """
    if torch.compiler.is_compiling():
        return function(tensors, *settings)
    if not _pays(tensors[0]) or subject in _refused:
        return eager()
    wanted = tuple(torch.is_grad_enabled() and tensor.requires_grad for tensor in tensors)
    neurons = tensors[0].ndim
    sizes = tuple(tensor.shape for tensor in tensors[1:] if tensor.ndim < neurons - 1)
    try:
        for tensor in tensors:
            # parameters have fewer dimensions; what is left has the neurons in its last ones
            for dimension in range(1 - neurons, 0) if tensor.ndim >= neurons - 1 else ():
                torch._dynamo.maybe_mark_dynamic(tensor, dimension + tensor.ndim)
        # a budget of 0 keeps nothing that can be computed again
        patch = torch._functorch.config.patch(activation_memory_budget=0.0)
        with torch.autocast(tensors[0].device.type, enabled=False), patch:
            return _compiled(function, settings, (*_guarded(tensors), wanted, sizes))(*tensors)
    except torch.OutOfMemoryError:
        raise
    except Exception as error:
        result = eager()
        _refused.add(subject)
        _warn(f"{subject} cannot be compiled, using its slower eager loop", error)
        return result


def _warn(text: str, error: Exception) -> None:
    first = (str(error).strip().splitlines() or [type(error).__name__])[0]
    warnings.warn(f"purespike: {text} ({first}); is a C++ compiler installed?", RuntimeWarning, stacklevel=3)


def _eager(function: Function, tensors: tuple[Tensor, ...], settings: tuple[Any, ...], split: bool) -> Any:
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
    """Properties, beside sizes, for which dynamo compiles again."""
    kinds = tuple((tensor.dtype, tensor.device, tensor.is_inference()) for tensor in tensors)
    return torch.get_num_threads(), kinds


@functools.cache
def _compiled(function: Function, settings: tuple[Any, ...], guarded: tuple[Any, ...]) -> Function:
    # dynamo refuses code that it compiled too often, so each case gets copies of its own: of the function,
    # and of the wrapper around it
    number = _compiled.cache_info().misses
    inner = _renamed(function, f"{function.__name__}_{number}")

    def call(*tensors: Tensor) -> Any:
        return inner(tensors, *settings)

    # with threads fixed at compilation the code would hang in a forked worker, which has but one
    return torch.compile(
        _renamed(call, f"call_{inner.__name__}"), fullgraph=True, options={"cpp.dynamic_threads": True}
    )


def _renamed(function: Any, name: str) -> types.FunctionType:
    code = function.__code__.replace(co_name=name)
    return types.FunctionType(code, function.__globals__, name, function.__defaults__, function.__closure__)
