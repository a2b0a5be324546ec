"""The base of all results, and reading one from a file: a bad file is one line that names file and field."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from purespike.errors import InputError
from purespike.files import write_json
from purespike.reading import parse_json, read_text
from purespike.section import explain

Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
"""A finite number; a truth value is none."""
Count = Annotated[int, Field(strict=True)]
"""A whole number; a truth value is none."""
Bit = Annotated[int, Field(strict=True, ge=0, le=1)]
"""An outcome: 1 or 0."""


class Record(BaseModel):
    """Base of all results: frozen, fields in the order of their definition, unknown keys kept as they are."""

    if_unreadable: ClassVar[str] = ""
    """Advice for a file that cannot be read as such a record."""

    model_config = ConfigDict(extra="allow", frozen=True, populate_by_name=True, protected_namespaces=())

    def to_json(self) -> dict[str, Any]:
        """The record as plain JSON values; a field that was never given, as in an older file, is left out."""
        return self.model_dump(mode="json", by_alias=True, exclude_unset=True)

    @classmethod
    def from_json(cls, value: Any, *, source: str = "") -> Self:
        """The record that :meth:`to_json` wrote, older versions of it included.

        Args:
            value: plain JSON values.
            source: name of the file, for messages.

        Raises:
            InputError: a field is missing or has a wrong type; the message names source and field.
        """
        try:
            return cls.model_validate(value)
        except ValidationError as error:
            where = f"{source}: " if source else ""
            advice = f"; {cls.if_unreadable}" if cls.if_unreadable else ""
            raise InputError(f"{where}malformed {cls.__name__.lower()}: {explain(error)}{advice}") from None

    @classmethod
    def read(cls, path: str | Path, *, hint: str = "") -> Self:
        """The record in a JSON file.

        Args:
            path: path of the file.
            hint: advice for a file that is missing, e.g. ``"; run `purespike evaluate` first"``.

        Raises:
            InputError: missing file, not JSON, or a field that is missing or has a wrong type.
        """
        return cls.from_json(read_json(path, hint=hint), source=str(path))

    def save(self, path: str | Path) -> None:
        """Write the record as JSON to ``path``, atomically."""
        write_json(path, self.to_json())


def read_json(path: str | Path, *, hint: str = "") -> Mapping[str, Any]:
    """The mapping in a JSON file.

    Raises:
        InputError: missing, not JSON, or no mapping.
    """
    value = read_value(path, hint=hint)
    if not isinstance(value, dict):
        raise InputError(f"{path}: expected a JSON mapping, got a {type(value).__name__}")
    return value


def read_value(path: str | Path, *, hint: str = "") -> Any:
    """The value in a JSON file, whatever it is.

    Raises:
        InputError: missing or not JSON.
    """
    return parse_json(read_text(path, hint=hint), path)
