"""Objects named in recipes, with their settings in parentheses: ``atan(alpha=2)``."""

import math
import re
from dataclasses import fields
from typing import Any, ClassVar, Self

from purespike.errors import InputError, unknown
from purespike.scalars import plain


class Written:
    """Base of families of frozen dataclasses that recipes name, such as surrogates.

    A family is a subclass with a ``kind``. Its members register under their lower-case names where they are
    defined, unless they are bases of others: ``class Base(Family, abstract=True)``. Settings are numbers,
    booleans, words, or lists of numbers in brackets, each of the type of its default.
    """

    kind: ClassVar[str]
    """The name of the family in messages."""
    known: ClassVar[dict[str, type[Any]]]

    def __init_subclass__(cls, *, abstract: bool = False) -> None:
        if "kind" in cls.__dict__:
            cls.known = {}
            return
        if abstract:
            return
        name = cls.__name__.lower()
        other = cls.known.get(name)
        # a cell of a notebook that runs again defines the same class once more
        if other and (other.__module__, other.__qualname__) != (cls.__module__, cls.__qualname__):
            raise InputError(f"{cls.kind} {name!r} is registered twice")
        cls.known[name] = cls

    @classmethod
    def parse(cls, text: str | Self) -> Self:
        """The member of this family with this written form, e.g. ``"atan"`` or ``"atan(alpha=2)"``.

        Raises:
            InputError: another form, an unknown name or setting, or a value out of its range.
        """
        if isinstance(text, cls):
            return text
        match = re.fullmatch(r"\s*(\w+)\s*(?:\((.*)\))?\s*", str(text))
        if not match:
            raise InputError(f"{cls.kind} {text!r}: write a name and its settings, e.g. atan(alpha=2)")
        name, arguments = match.group(1).lower(), match.group(2) or ""
        if name not in cls.known:
            raise unknown(cls.kind, name, cls.known)
        member = cls.known[name]
        kinds = vars(member).get("__annotations__", {}).values()
        declares = any("ClassVar" not in str(kind) for kind in kinds)
        if declares and "__dataclass_fields__" not in vars(member):
            raise InputError(f"{cls.kind} {name}: decorate {member.__name__} with @dataclass(frozen=True)")
        defaults = {field.name: field.default for field in fields(member)}
        settings: dict[str, Any] = {}
        # a comma inside brackets separates the numbers of a list
        for part in filter(None, (part.strip() for part in re.split(r",(?![^\[]*\])", arguments))):
            key, _, value = (piece.strip() for piece in part.partition("="))
            if key not in defaults:
                raise unknown(f"setting of {cls.kind} {name}", key, defaults)
            if key in settings:
                raise InputError(f"{cls.kind} {str(text)!r}: {key} is given twice")
            try:
                settings[key] = _read(value, defaults[key])
            except ValueError as error:
                raise InputError(f"{cls.kind} {str(text)!r}: {key} must be {error}, got {value!r}") from None
        try:
            result: Self = member(**settings)
        except TypeError as error:
            # a setting without a default, or a method that is not there
            raise InputError(f"{cls.kind} {str(text)!r}: {error}") from error
        return result

    @property
    def name(self) -> str:
        return type(self).__name__.lower()

    def __str__(self) -> str:
        settings = (f"{field.name}={_write(getattr(self, field.name))}" for field in fields(self))  # type: ignore[arg-type]
        return f"{self.name}({', '.join(settings)})"

    def check(self, key: str, least: float = 0.0, most: float = math.inf, *, positive: bool = False) -> None:
        """Refuse a setting that is not a finite number in ``[least, most]``, or not positive.

        A number of NumPy, or a tensor without dimensions, becomes Python's.

        Raises:
            InputError: the message names family, member and setting.
        """
        value = plain(getattr(self, key))
        object.__setattr__(self, key, value)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise InputError(f"{self.kind} {self.name}: {key} must be a number, got {value!r}")
        if positive and not (math.isfinite(value) and value > 0):
            raise InputError(f"{self.kind} {self.name}: {key} must be positive, got {value}")
        if not (math.isfinite(value) and least <= value <= most):
            allowed = f"in [{least:g}, {most:g}]" if math.isfinite(most) else f"finite and at least {least:g}"
            raise InputError(f"{self.kind} {self.name}: {key} must be {allowed}, got {value}")


def _read(text: str, default: Any) -> Any:
    """The value written as ``text``, of the type of ``default``; a number if there is no default."""
    if isinstance(default, bool):
        if text.lower() not in ("true", "false"):
            raise ValueError("true or false")
        return text.lower() == "true"
    if isinstance(default, str):
        return text
    if isinstance(default, tuple):
        return tuple(_number(part) for part in text.strip("[]").split(",") if part.strip())
    if isinstance(default, int):
        try:
            return int(text)
        except ValueError:
            raise ValueError("a whole number") from None
    return _number(text)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError("a number") from None


def _write(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return f"[{', '.join(map(_write, value))}]"
    if isinstance(value, float):
        short = f"{value:g}"
        return short if float(short) == value else repr(value)
    return str(value)
