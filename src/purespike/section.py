"""The base of every part of a recipe, and the ranges that several parts share."""

from collections.abc import Callable
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from purespike.errors import brief, unknown


def _no_truth(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError(f"must be a number, got {value}")
    return value


Whole = Annotated[int, BeforeValidator(_no_truth)]
Number = Annotated[float, BeforeValidator(_no_truth)]
Positive = Annotated[Whole, Field(ge=1)]
Epochs = Annotated[Whole, Field(ge=1, le=100_000)]
TimeSteps = Annotated[Whole, Field(ge=1, le=1024)]
Width = Annotated[Number, Field(gt=0, le=64)]
"""Factor of a network's channels; a wider network than this is a slip of the pen, and fills any memory."""
Seed = Annotated[Whole, Field(ge=0, lt=2**63)]
Rate = Annotated[Number, Field(gt=0, le=1e12)]
"""A factor that float32 holds, and its products with others too."""
NotNegative = Annotated[Number, Field(ge=0, le=1e12)]
NotNegativeInt = Annotated[Whole, Field(ge=0)]
Share = Annotated[Number, Field(ge=0, le=1)]


class Section(BaseModel):
    """Base of all parts of a recipe: unknown keys are errors, numbers are finite, values do not change."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=False, populate_by_name=True, allow_inf_nan=False
    )


def explain(error: ValidationError, place: str | None = None) -> str:
    """The first mistake of a validation as ``place: message``, with the value where the message lacks it.

    Args:
        error: the mistakes.
        place: dotted place of the first one, by default the path of its keys.
    """
    first = error.errors()[0]
    keys = first["loc"]
    place = ".".join(map(str, keys)) if place is None else place
    if first["type"] == "missing":
        return f"{place}: is missing"
    message, given = first["msg"].removeprefix("Value error, "), first["input"]
    setting, colon, rest = message.partition(": ")
    names = [key for key in keys if isinstance(key, str)]
    if colon and names and names[-1].endswith(setting):
        # a message of ours that names the setting, whose place says more; which of a list, its value says
        place, message = place.rstrip(".0123456789"), rest
    scalar = isinstance(given, str | int | float | bool | None)
    said = first["type"] == "value_error" and brief(given).strip("'")[:60] in message
    shown = f", got {brief(given)}" if scalar and not said else ""
    return f"{place}: {message}{shown}".removeprefix(": ")


def one_of(kind: str, default: str, *options: type[Section]) -> Callable[[Any], Any]:
    """A validator of a setting that is one of several sections, distinguished by ``name``.

    A name alone means the defaults of its section; settings without a name are those of ``default``.

    Args:
        kind: the kind of setting in messages, e.g. ``"optimiser"``.
        default: name of the section where none is given.
        options: the sections, each with its name as the default of its field ``name``.
    """
    names = [option.model_fields["name"].default for option in options]

    def named(value: Any) -> Any:
        value = {"name": value} if isinstance(value, str) else value
        if not isinstance(value, dict):
            return value
        value = {"name": default, **value}
        if value["name"] not in names:
            raise unknown(kind, str(value["name"]), names)
        return value

    return named
