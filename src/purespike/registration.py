"""How registering decorators are used: with parentheses, and on something that can be called."""

import functools
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar, cast

from purespike.errors import InputError, brief

P = ParamSpec("P")
R = TypeVar("R")


def registering(usage: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Let a decorator with settings refuse other uses: without parentheses, or on what cannot be called.

    Args:
        usage: an example of the right use, e.g. ``'@rule(needs="images")'``.
    """

    def decorate(decorator: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(decorator)
        def checked(*given: P.args, **settings: P.kwargs) -> R:
            if len(given) == 1 and not settings and callable(given[0]):
                raise InputError(f"@{decorator.__name__} on {_name(given[0])}: write it as {usage}")
            register = cast(Callable[[Any], Any], decorator(*given, **settings))

            def registered(made: Any) -> Any:
                if not callable(made):
                    raise InputError(f"{usage}: decorates a function or a class, not {brief(made)}")
                return register(made)

            return cast(R, registered)

        return checked

    return decorate


def own_name(kind: str, made: Any) -> str:
    """The name under which a function or class is registered: its own.

    Raises:
        InputError: it has none.
    """
    name = getattr(made, "__name__", None)
    if not isinstance(name, str):
        raise InputError(f"{kind}: {brief(made)} is no function or class with a name of its own")
    return name


def _name(made: object) -> str:
    return getattr(made, "__name__", type(made).__name__)
