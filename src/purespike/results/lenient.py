"""Fields of files that others wrote too: numbers as text, budgets as fractions, anything as a word."""

import math
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer

from purespike.budget import format_eps
from purespike.errors import InputError
from purespike.results.vocabulary import percent
from purespike.scalars import parse_number


def _number(given: Any) -> float:
    try:
        number = math.nan if isinstance(given, bool) else float(given)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise ValueError("is not a number")
    return number


def _percentage(given: Any) -> float | None:
    if given in (None, ""):
        return None
    number = _number(given)
    if not 0 <= number <= 100:
        raise ValueError("is no percentage")
    return number


def _size(given: Any) -> float | None:
    if isinstance(given, str):
        if given.strip().lower() in ("", "none", "null"):
            return None
        try:
            given = parse_number(given)
        except InputError:
            raise ValueError("is not a number") from None
    if given is None:
        return None
    eps = _number(given)
    if eps < 0:
        raise ValueError("is negative")
    return eps


def _written(value: float | None) -> str | None:
    return None if value is None else percent(value / 100, 2)


Percent = Annotated[float | None, BeforeValidator(_percentage), PlainSerializer(_written)]
"""A percentage, text with two decimals in files."""
Size = Annotated[
    float | None,
    BeforeValidator(_size),
    PlainSerializer(lambda eps: None if eps is None else format_eps(eps)),
]
"""A budget, text such as ``8/255`` in files."""
Text = Annotated[str, BeforeValidator(lambda given: "" if given is None else str(given).strip())]
