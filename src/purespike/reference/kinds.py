"""Types, ranges and defaults of settings in words."""

import types
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, is_dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import annotated_types
import yaml
from pydantic import BaseModel

_WORDS = {bool: "true or false", int: "whole number", float: "number", str: "text", Any: "any"}
# bounds that only keep a number finite or storable
_FAR = 1e18


def kind(annotation: Any) -> str:
    """The type of a setting in words, e.g. ``list of whole numbers, or null``."""
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return kind(parts[0])
    if origin is Literal:
        return " | ".join(map(str, parts))
    if origin in (Union, types.UnionType):
        return _either(parts)
    if origin in (tuple, list, Sequence) and parts:
        inner = kind(parts[0])
        count = "list" if len(parts) == 1 or parts[1] is ... else f"list of {len(parts)}"
        return f"list of {_plural(inner)}" if count == "list" else f"{count} {_plural(inner)}"
    if annotation in _WORDS:
        return _WORDS[annotation]
    if (origin or annotation) in (dict, Mapping):
        return "mapping"
    if isinstance(annotation, type) and (issubclass(annotation, BaseModel) or is_dataclass(annotation)):
        return "mapping"
    return getattr(annotation, "__name__", str(annotation)).lower()


def _either(parts: Sequence[Any]) -> str:
    given = [part for part in parts if part is not type(None)]
    if len(given) > 1 and all(kind(part) == "mapping" for part in given):
        words = "name, or mapping with one"
    elif {float, str} <= {get_args(part)[0] if get_origin(part) is Annotated else part for part in given}:
        words = "number, also as text such as 8/255"
    else:
        words = " or ".join(dict.fromkeys(kind(part) for part in given))
    return f"{words}, or null" if type(None) in parts else words


def _plural(words: str) -> str:
    first, comma, rest = words.partition(",")
    plurals = {"text": "texts", "any": "anything", "true or false": "truth values"}
    return plurals.get(first, first if "|" in first else f"{first}s") + comma + rest


def limits(annotation: Any, metadata: Sequence[Any] = ()) -> str:
    """The range of a setting, of each element of a list, as an interval; empty without one."""
    low, high = "", ""
    lowest, highest = "(", ")"
    for bound in _bounds(annotation, metadata):
        if isinstance(bound, annotated_types.Ge):
            low, lowest = _number(bound.ge), "["
        elif isinstance(bound, annotated_types.Gt):
            low, lowest = _number(bound.gt), "("
        elif isinstance(bound, annotated_types.Le):
            high, highest = _number(bound.le), "]"
        else:
            high, highest = _number(bound.lt), ")"
    if low and high:
        return f"{lowest}{low}, {high}{highest}"
    if low:
        return f"{'≥' if lowest == '[' else '>'} {low}"
    return f"{'≤' if highest == ']' else '<'} {high}" if high else ""


def _bounds(annotation: Any, metadata: Sequence[Any]) -> Iterator[Any]:
    known = annotated_types.Ge | annotated_types.Gt | annotated_types.Le | annotated_types.Lt
    if get_origin(annotation) is Annotated:
        inner, *own = get_args(annotation)
        yield from _bounds(inner, own)
    elif get_args(annotation):
        for part in get_args(annotation):
            yield from _bounds(part, ())
    for each in metadata:
        if isinstance(each, known):
            yield each
        else:
            # a Field inside an alias keeps its constraints in its own metadata
            yield from (one for one in getattr(each, "metadata", ()) if isinstance(one, known))


def _number(value: Any) -> str:
    if value >= _FAR:
        return ""
    return f"{value:,}" if isinstance(value, int) else f"{value:g}"


def written(value: Any) -> str:
    """A default as YAML in one line."""
    if value is None:
        return "null"
    if isinstance(value, float):
        return _float(value)
    text = yaml.safe_dump(_plain(value), default_flow_style=True, sort_keys=False, width=10_000)
    return text.removesuffix("...\n").strip()


def _float(value: float) -> str:
    short = f"{value:g}"
    if float(short) == value:
        return short
    # budgets and steps are grey levels of 8-bit images, whose decimals nobody would write
    levels = round(255 * value)
    return f"{levels}/255" if levels / 255 == value else repr(value)


def _plain(value: Any) -> Any:
    """``value`` of types that YAML knows."""
    if isinstance(value, BaseModel):
        return _plain(value.model_dump(mode="json"))
    if is_dataclass(value) and not isinstance(value, type):
        return _plain(asdict(value))
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(each) for each in value]
    return value if isinstance(value, str | int | float | bool | None) else str(value)
