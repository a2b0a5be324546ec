"""The base of every part of a recipe, and the ranges that several parts share."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Annotated, Any, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from purespike.errors import InputError, brief, unknown
from purespike.scalars import plain

Positive = Annotated[int, Field(ge=1)]
Epochs = Annotated[int, Field(ge=1, le=100_000)]
TimeSteps = Annotated[int, Field(ge=1, le=1024)]
Width = Annotated[float, Field(gt=0, le=64)]
"""Factor of a network's channels; a wider network than this is a slip of the pen, and fills any memory."""
Seed = Annotated[int, Field(ge=0, lt=2**63)]
Rate = Annotated[float, Field(gt=0, le=1e30)]
"""A factor that float32 holds."""
NotNegative = Annotated[float, Field(ge=0, le=1e30)]
NotNegativeInt = Annotated[int, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]


def setting(about: str, *, scaling: str | None = None, **limits: Any) -> Any:
    """What is known of a setting besides its type, for :data:`typing.Annotated`: shell and reference read it.

    Args:
        about: its meaning in a sentence or two, with the unit.
        scaling: what it should be when epochs, image size or the amount of data change.
        limits: ``ge``, ``gt``, ``le``, ``lt`` and others of :func:`pydantic.Field`.
    """
    return Field(description=about, json_schema_extra={"scaling": scaling} if scaling else None, **limits)


if TYPE_CHECKING:
    from pydantic._internal._model_construction import ModelMetaclass
else:
    ModelMetaclass = type(BaseModel)


class _OneLine(ModelMetaclass):
    """Kind of classes that, called with values that do not fit, raise one line."""

    def __call__(cls, *args: Any, **values: Any) -> Any:
        try:
            return super().__call__(*args, **values)
        except ValidationError as error:
            raise InputError(explain(error)) from None


class Section(BaseModel, metaclass=_OneLine):
    """Base of all parts of a recipe: unknown keys are errors, numbers are finite, values do not change."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=False, populate_by_name=True, allow_inf_nan=False
    )

    @model_validator(mode="before")
    @classmethod
    def _no_truth(cls, values: Any) -> Any:
        # pydantic takes true for 1
        for name, value in values.items() if isinstance(values, dict) else ():
            several = value if isinstance(value, list | tuple) else [value]
            if name in cls.model_fields and any(isinstance(plain(each), bool) for each in several):
                kinds = set(_kinds(cls.model_fields[name].annotation))
                if kinds & {int, float} and not kinds & {bool, Any}:
                    raise _Misplaced(name, value)
        return values


class _Misplaced(InputError):
    """A truth value where a setting called ``name`` is a number."""

    def __init__(self, name: str, value: Any) -> None:
        super().__init__(f"{name}: must be a number, got {brief(value)}")
        self.name = name


def _kinds(annotation: Any) -> Iterator[Any]:
    """The types that an annotation consists of."""
    yield annotation
    for part in get_args(annotation):
        yield from _kinds(part)


def explain(error: ValidationError, place: str | None = None) -> str:
    """The first mistake of a validation as ``place: message``, with the value where the message lacks it.

    Args:
        error: the mistakes.
        place: dotted place of the first one, by default the path of its keys.
    """
    first = error.errors()[0]
    keys, cause = first["loc"], first.get("ctx", {}).get("error")
    place = ".".join(map(str, keys)) if place is None else place
    if isinstance(cause, _Misplaced):
        keys, place = (*keys, cause.name), f"{place}.{cause.name}".lstrip(".")
    if first["type"] == "missing":
        return f"{place}: is missing"
    if first["type"] == "extra_forbidden":
        return f"{place}: unknown, or given twice in two spellings"
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
