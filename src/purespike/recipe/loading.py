"""A recipe from a file, with ``--set`` applied, or from mappings; a mistake is one line."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from purespike.errors import InputError, brief, unknown
from purespike.recipe.names import OTHER_NAMES, present_names, spelled_out
from purespike.recipe.whole import Recipe
from purespike.section import explain
from purespike.yaml_text import parse_yaml, read_yaml


def load_recipe(path: str | Path, overrides: Iterable[str] = ()) -> Recipe:
    """Read a recipe file and apply ``a.b=value`` overrides, whose values are YAML.

    ``null`` gives a key its default, where it cannot be null itself.

    Raises:
        InputError: unreadable file, unknown key (with the nearest known one), or a value of the wrong type
            or out of range.
    """
    content = read_yaml(path)
    if not isinstance(content, dict | None):
        raise InputError(f"{path}: a recipe is a mapping of sections, got {type(content).__name__}")
    values = content or {}
    for section in values:
        try:
            values[section] = present_names(values[section], section)
        except InputError as error:
            raise InputError(f"{path}: {section}: {error}") from error
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals or not key.strip().rpartition(".")[2]:
            raise InputError(f"--set {override}: write section.key=value, e.g. classifier.epochs=5")
        try:
            _apply(values, key.strip().split("."), parse_yaml(text))
        except InputError as error:
            raise InputError(f"--set {key.strip()}: {error}") from error
    return parse_recipe(values, source=str(path))


def parse_recipe(values: dict[str, Any], *, source: str = "recipe") -> Recipe:
    """Check a recipe given as nested mappings.

    Raises:
        InputError: as :func:`load_recipe` does.
    """
    try:
        return Recipe.model_validate(values)
    except ValidationError as error:
        raise _explain(error, source) from error


def _apply(values: dict[str, Any], place: list[str], value: Any) -> None:
    """Set the key at a dotted place, which other names may lead to."""
    section, *keys = place
    if keys:
        _, others = OTHER_NAMES.get(section, ("", {}))
        keys = [*others.get(keys[0], keys[:1]), *keys[1:]]
    else:
        value = present_names(value, section)
    *parents, last = [section, *keys]
    for parent in parents:
        values[parent] = nested = spelled_out(parent, values.get(parent, {}))
        if not isinstance(nested, dict):
            raise InputError(f"{parent} is not a section with keys of its own, but {brief(nested)}")
        values = nested
    if value is None and not _nullable([section, *keys]):
        values.pop(last, None)
    else:
        values[last] = value


def _nullable(place: list[str]) -> bool:
    """Whether the key at a place may be null; of a place that is none the recipe's check says more."""
    sections: list[type[BaseModel]] = [Recipe]
    nullable = True
    for name in place:
        fields = [section.model_fields[name] for section in sections if name in section.model_fields]
        nullable = not fields or any(type(None) in get_args(field.annotation) for field in fields)
        sections = [part for field in fields for part in _sections(field.annotation)]
    return nullable


def _explain(error: ValidationError, source: str) -> InputError:
    first = error.errors()[0]
    place, section = _locate(first["loc"])
    if first["type"] == "extra_forbidden":
        prefix = place.rpartition(".")[0]
        known = [f"{prefix}.{name}" if prefix else name for name in section.model_fields]
        return InputError(f"{source}: {unknown('recipe key', place, known)}")
    return InputError(f"{source}: {explain(error, place)}")


def _locate(loc: tuple[int | str, ...]) -> tuple[str, type[BaseModel]]:
    """The dotted place of an error, and the section that it lies in."""
    names: list[str] = []
    section: type[BaseModel] = Recipe
    inside: list[type[BaseModel]] = [Recipe]
    for part in loc:
        tagged = [
            option for option in inside if len(inside) > 1 and option.model_fields["name"].default == part
        ]
        if tagged:
            # pydantic names the section that was chosen among several; the recipe does not
            inside = tagged
            continue
        names.append(str(part))
        if isinstance(part, str) and inside:
            (section, *_), field = inside, inside[0].model_fields.get(part)
            inside = _sections(field.annotation) if field else []
    return ".".join(names), section


def _sections(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [section for part in get_args(annotation) for section in _sections(part)]
