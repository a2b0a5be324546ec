"""Perturbation budgets as text and number; imports no torch, so that reports and help open at once."""

import math
from collections.abc import Callable

from purespike.errors import InputError, unknown
from purespike.scalars import parse_number


def parse_eps(eps: float | str, *, name: str = "eps") -> float:
    """Turn a perturbation size in pixel units, a number or a fraction such as ``"8/255"``, into a float.

    Raises:
        InputError: not a number, or outside [0, 1].
    """
    value = parse_number(eps, name=name, example="8/255")
    if not 0 <= value <= 1:
        raise InputError(
            f"{name}: must lie in [0, 1] in pixel units (1 = full range), got {_cut(eps)}; write 8/255, not 8"
        )
    return value


def parse_radius(eps: float | str) -> float:
    """Turn an L2 radius in pixel units, a number or a fraction such as ``"128/255"``, into a float.

    Raises:
        InputError: not a number, not positive, or not finite.
    """
    value = parse_number(eps, name="eps", example="128/255")
    if not 0 < value < math.inf:
        raise InputError(f"eps: an L2 radius must be positive and finite, got {_cut(eps)}")
    return value


def parse_count(eps: float | str) -> float:
    """Turn an L0 budget, a number of pixels, into a float.

    Raises:
        InputError: not a whole number of at least 1.
    """
    value = parse_number(eps, name="eps", example="20")
    if not 1 <= value < math.inf or value != int(value):
        raise InputError(
            "eps: an L0 budget is a whole number of pixels (of event frames: bins) of at least 1, got "
            f"{_cut(eps)}"
        )
    return value


PARSERS: dict[str, Callable[[float | str], float]] = {
    "linf": parse_eps,
    "l2": parse_radius,
    "l0": parse_count,
}
"""Parsers of budgets by norm; a ball adds the parser of its norm."""


def parse_budget(eps: float | str, norm: str = "linf") -> float:
    """``eps`` as a float that may be a budget in ``norm``.

    Raises:
        InputError: an unknown norm, or a size that the norm does not allow.
    """
    if norm not in PARSERS:
        raise unknown("norm", str(norm), PARSERS)
    return PARSERS[norm](eps)


def format_eps(eps: float) -> str:
    """Write a perturbation size the way the field does: ``8/255`` where that is exact, else a decimal."""
    level = eps * 255
    # the whole range, and a radius of an L2 ball, read better as they are
    if eps % 1 and round(level) and abs(level - round(level)) < 1e-6:
        return f"{round(level)}/255"
    return f"{eps:g}"


def same_eps(one: float | None, other: float | None) -> bool:
    """Whether two perturbation sizes are the same up to rounding; two missing ones count as the same."""
    if one is None or other is None:
        return one is other
    return abs(one - other) < 1e-6


def _cut(eps: float | str) -> str:
    return str(eps)[:80]
