"""The identity of a model: everything that decides its answers and gradients, as far as Python shows it."""

import functools
import hashlib
import sys
import types
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from purespike.models.guard import Guard


class Seen:
    """Objects that were met, numbered in the order of their first meeting.

    They are kept, so that no other one gets their address.
    """

    def __init__(self) -> None:
        self._met: dict[int, tuple[int, Any]] = {}

    def number(self, thing: Any) -> int | None:
        """The number of ``thing``; ``None`` if it was not met."""
        found = self._met.get(id(thing))
        return None if found is None else found[0]

    def meet(self, thing: Any) -> int:
        """The number of ``thing``, a new one at the first meeting."""
        return self._met.setdefault(id(thing), (len(self._met), thing))[0]


# torch's own bookkeeping of a module; parameters, buffers, hooks and children are visited by themselves, and
# the mode is set by whoever uses the model
_BOOKKEEPING = frozenset(vars(nn.Module()))
_PLAIN = (
    type(None),
    bool,
    int,
    float,
    complex,
    str,
    bytes,
    torch.dtype,
    torch.device,
    torch.Size,
    np.generic,
)


def identity(model: nn.Module) -> str:
    """Digest of the weights, the plain attributes and the code of ``model``, at every depth.

    Two models with the same digest answer alike, also with equal weights. The code is that of the classes, of
    the functions in attributes, and of the functions and values of the same files that they refer to; the
    code of installed packages is known by its name, and random generators by their kind. Memory addresses
    never enter, so that another process finds the same digest.
    """
    return _digest(_module(model, Seen()))


def code_of(*things: Any) -> tuple[str, ...]:
    """Digests of the code of the classes and functions among ``things`` that are no installed package's."""
    return tuple(_digest(_value(thing, Seen())) for thing in things if not _installed(thing))


def settings_of(module: nn.Module) -> dict[str, str]:
    """Digests of the plain attributes of a module itself: no tensors, no children."""
    return {
        key: _digest(_value(value, Seen()))
        for key, value in vars(module).items()
        if key not in _BOOKKEEPING and not isinstance(value, Tensor | Guard)
    }


def _digest(parts: Iterator[str | bytes]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part if isinstance(part, bytes) else f"{part}\0".encode())
    return digest.hexdigest()


def _module(model: nn.Module, seen: Seen) -> Iterator[str | bytes]:
    for module in model.modules():
        seen.meet(module)
    yield from _walk("", model, seen, set())


def _walk(name: str, module: nn.Module, seen: Seen, visited: set[int]) -> Iterator[str | bytes]:
    """A module, then its children; one that stands in several places is told from another of its kind."""
    number = seen.meet(module)
    yield f"module {name} {number}"
    if number in visited:
        return
    visited.add(number)
    yield from _value(type(module), seen)
    for tensors in (module._parameters, module._buffers):
        for key, tensor in tensors.items():
            yield key
            yield from _value(tensor, seen)
    hooks = (
        module._forward_hooks,
        module._forward_pre_hooks,
        module._backward_hooks,
        module._backward_pre_hooks,
    )
    for function in (function for each in hooks for function in each.values()):
        yield from _value(function, seen)
    yield from _attributes(module, seen)
    for key, child in module._modules.items():
        if child is not None:
            yield from _walk(f"{name}.{key}", child, seen, visited)


def _attributes(thing: Any, seen: Seen) -> Iterator[str | bytes]:
    # slots first, whose names __dict__ lacks
    slots = {name for base in type(thing).__mro__ for name in _names(vars(base).get("__slots__", ()))}
    attributes = {name: getattr(thing, name) for name in slots if hasattr(thing, name)}
    attributes |= getattr(thing, "__dict__", {})
    bookkeeping = _BOOKKEEPING if isinstance(thing, nn.Module) else frozenset()
    for key in sorted(attributes.keys() - bookkeeping, key=str):
        value = attributes[key]
        if isinstance(value, Guard):
            if isinstance(value.forward, types.MethodType):
                continue
            value = value.forward
        yield f"attribute {key}"
        yield from _value(value, seen)


def _value(value: Any, seen: Seen) -> Iterator[str | bytes]:
    if isinstance(value, _PLAIN):
        yield repr(value)
        return
    if isinstance(value, Tensor):
        yield repr((value.dtype, tuple(value.shape)))
        if not value.is_meta:
            plain = value.detach().cpu().to_dense() if value.is_sparse else value.detach().cpu()
            yield plain.contiguous().view(-1).view(torch.uint8).numpy().tobytes()
        return
    if (number := seen.number(value)) is not None:
        yield f"again {type(value).__qualname__} {number}"
        return
    seen.meet(value)
    if isinstance(value, np.ndarray):
        yield repr((value.dtype, value.shape))
        yield from [value.tobytes()] if value.dtype != object else _value(list(value.flat), seen)
    elif isinstance(value, Mapping):
        yield f"{type(value).__qualname__} {len(value)}"
        for key in value:
            yield from _value(key, seen)
            yield from _value(value[key], seen)
    elif isinstance(value, set | frozenset):
        yield repr(sorted(map(repr, value)))
    elif isinstance(value, list | tuple):
        yield f"{type(value).__qualname__} {len(value)}"
        for each in value:
            yield from _value(each, seen)
    elif isinstance(value, type):
        yield from _class(value, seen)
    elif isinstance(value, functools.partial):
        yield from _value([value.func, value.args, value.keywords], seen)
    elif isinstance(value, functools._lru_cache_wrapper):
        yield from _value(value.__wrapped__, seen)
    elif isinstance(value, types.BuiltinFunctionType | np.ufunc):
        yield f"{getattr(value, '__module__', None)} {getattr(value, '__qualname__', value.__name__)}"
        if not isinstance(owner := getattr(value, "__self__", None), types.ModuleType):
            yield from _value(owner, seen)
    elif isinstance(value, types.MethodType):
        yield from _value(value.__func__, seen)
        yield from _value(value.__self__, seen)
    elif isinstance(value, types.FunctionType):
        yield from _function(value, seen)
    elif isinstance(value, nn.Module):
        yield from _module(value, seen)
    else:
        yield from _value(type(value), seen)
        if not _of_python(type(value).__module__):
            yield from _attributes(value, seen)
        else:
            yield from _value(_content(value), seen)


def _class(kind: type, seen: Seen) -> Iterator[str | bytes]:
    yield f"class {kind.__module__}.{kind.__qualname__}"
    for base in kind.__mro__:
        if _installed(base):
            continue
        yield base.__qualname__
        for name, member in sorted(vars(base).items()):
            inner = getattr(member, "fget", None) or getattr(member, "__func__", None) or member
            # what else is between two underscores is Python's own bookkeeping
            if not name.startswith("__") or isinstance(inner, types.FunctionType):
                yield name
                yield from _value(inner, seen)


def _function(function: types.FunctionType, seen: Seen) -> Iterator[str | bytes]:
    yield f"function {function.__module__}.{function.__qualname__}"
    if _installed(function) and function.__closure__ is None:
        return
    yield from _value([function.__defaults__, function.__kwdefaults__], seen)
    for cell in function.__closure__ or ():
        try:
            yield from _value(cell.cell_contents, seen)
        except ValueError:
            yield "empty cell"
    if not _installed(function):
        codes: list[types.CodeType] = []
        yield from _code(function.__code__, codes)
        named = {name for code in codes for name in code.co_names}
        yield from _globals(function.__globals__, named, seen)


def _globals(values: Mapping[str, Any], named: set[str], seen: Seen) -> Iterator[str | bytes]:
    """Those of ``values`` that code names; of one's own modules, what the same code may name in them."""
    for name in sorted(named & values.keys()):
        value = values[name]
        yield f"global {name}"
        if not isinstance(value, types.ModuleType):
            yield from _value(value, seen)
            continue
        yield value.__name__
        if not _is_installed(value.__name__):
            yield from _globals(vars(value), named - {name}, seen)


def _content(value: Any) -> list[Any]:
    """What an object of Python's own library consists of, as far as it can be copied; generators by kind."""
    if type(value).__module__ in ("random", "_random"):
        return []
    try:
        parts = value.__reduce_ex__(4)
    except Exception:
        return []
    # the function that makes it again, its arguments, its state, and items of lists and mappings
    return [parts] if isinstance(parts, str) else [list(p) if isinstance(p, Iterator) else p for p in parts]


def _names(slots: Any) -> list[str]:
    return [slots] if isinstance(slots, str) else list(slots)


def _code(code: types.CodeType, codes: list[types.CodeType]) -> Iterator[str | bytes]:
    """The instructions and constants of a function and of the functions inside it, gathered in ``codes``."""
    codes.append(code)
    yield code.co_code
    yield repr(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _code(constant, codes)
        else:
            yield repr(sorted(map(repr, constant)) if isinstance(constant, frozenset) else constant)


def _installed(thing: Any) -> bool:
    """Whether a class or function belongs to Python or an installed package, purespike included."""
    return _is_installed(getattr(thing, "__module__", None) or "builtins")


def _of_python(module: str) -> bool:
    return module.partition(".")[0] in sys.stdlib_module_names - {"__main__"}


@functools.cache
def _is_installed(module: str) -> bool:
    if _of_python(module) or module.partition(".")[0] == "purespike":
        return True
    places = getattr(sys.modules.get(module), "__file__", None) or ""
    return any(part in places for part in ("site-packages", "dist-packages"))
