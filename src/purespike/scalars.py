"""Numbers and truth values of settings: Python's, NumPy's, and tensors without dimensions."""

import math
from fractions import Fraction
from typing import Any

from purespike.errors import InputError, brief


def plain(value: Any) -> Any:
    """A scalar of NumPy, or an array or tensor without dimensions, as Python's; anything else unchanged."""
    return value.item() if getattr(value, "ndim", None) == 0 and hasattr(value, "item") else value


def check_truth(value: Any, *, name: str) -> bool:
    """``value`` as a bool, if it is true or false.

    Raises:
        InputError: anything else; the message calls it ``name``.
    """
    truth = plain(value)
    if not isinstance(truth, bool):
        raise InputError(f"{name}: must be true or false, got {brief(value)}")
    return truth


def check_whole(value: Any, *, name: str, least: int | None = None) -> int:
    """``value`` as an int, if it is a whole number of at least ``least``.

    Raises:
        InputError: anything else; the message calls it ``name``.
    """
    number = plain(value)
    whole = isinstance(number, int) and not isinstance(number, bool)
    if not whole or (least is not None and number < least):
        bound = "" if least is None else f" of at least {least}"
        raise InputError(f"{name}: must be a whole number{bound}, got {brief(value)}")
    return int(number)


def check_number(value: Any, *, name: str, positive: bool = False) -> float:
    """``value`` as a float, if it is a finite number of at least 0, or a fraction as text.

    Args:
        value: number to check.
        name: name of the setting in messages.
        positive: whether it must not be 0.

    Raises:
        InputError: anything else.
    """
    number = parse_number(value, name=name, example="0.5")
    if not 0 <= number < math.inf or (positive and not number):
        bound = "be positive" if positive else "not be negative"
        raise InputError(f"{name}: must {bound}, and finite, got {brief(value)}")
    return number


def parse_number(value: Any, *, name: str = "eps", example: str = "8/255") -> float:
    """A number, or a fraction as text, as a float; it may be infinite.

    Raises:
        InputError: neither of them, or several; the message calls it ``name`` and shows the ``example``.
    """
    if getattr(value, "ndim", 0) or isinstance(value, list | tuple):
        raise InputError(
            f"{name}: one number such as {example} for all images, got a {type(value).__name__}; "
            "attack the images of each budget by themselves"
        )
    number = plain(value)
    try:
        if isinstance(number, bool):
            raise TypeError
        if isinstance(number, str) and "/" in number and len(number) <= 100:
            return float(Fraction(number.replace(" ", "")))
        # a fraction would write out every digit of 1e999999999
        return float(number)
    except (ValueError, ZeroDivisionError, TypeError, OverflowError):
        message = f"{name}: {brief(value)} is neither a number nor a fraction such as {example}"
        raise InputError(message) from None


def as_number(text: str) -> float | None:
    """The number or fraction in ``text``; ``None`` if it is neither."""
    try:
        return parse_number(text)
    except InputError:
        return None
