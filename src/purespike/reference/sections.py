"""The sections of a recipe, key by key, from their models."""

from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from purespike.recipe import OTHER_NAMES, Recipe
from purespike.recipe.whole import EVALUATION
from purespike.reference.docstring import plain, summary
from purespike.reference.entry import Chapter, Key, Topic
from purespike.reference.kinds import kind, limits, written
from purespike.section import Section


def key(place: str, field: FieldInfo, *, about: str = "", **changes: Any) -> Key:
    """One field of a model.

    Args:
        place: its place.
        field: the field.
        about: meaning where the field has no description.
        changes: parts of the key that are not the field's own.
    """
    extra = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
    missing = field.default is PydanticUndefined
    values: dict[str, Any] = {
        "kind": kind(field.annotation),
        "default": "" if missing else _default(field.default),
        "limits": limits(field.annotation, field.metadata),
        "about": plain(field.description or about),
        "scaling": str(extra.get("scaling") or ""),
    }
    return Key(place, **{**values, **changes})


def _default(value: Any) -> str:
    """A default as it would be written; one of several sections by its name."""
    if isinstance(value, Section):
        return str(getattr(value, "name", "{}"))
    if (
        isinstance(value, tuple)
        and value
        and all(isinstance(each, dict) and list(each) == ["name"] for each in value)
    ):
        return written([each["name"] for each in value])
    return written(value)


def section(name: str, model: type[BaseModel]) -> Topic:
    """A section of a recipe, with all its keys."""
    _, others = OTHER_NAMES.get(name, ("", {}))
    keys = []
    for field, info in model.model_fields.items():
        changes: dict[str, Any] = {
            "others": tuple(sorted(old for old, (new, *rest) in others.items() if new == field and not rest))
        }
        if name == "evaluation" and field in EVALUATION:
            changes["default"] = written(EVALUATION[field])
        keys.append(key(f"{name}.{field}", info, **changes))
    return Topic(name, summary(model.__doc__), tuple(keys))


def _former(name: str) -> tuple[Key, ...]:
    """Former keys whose present place lies inside another one."""
    _, others = OTHER_NAMES.get(name, ("", {}))
    return tuple(
        Key(f"{name}.{old}", "", "", about=f"Former name of `{name}.{'.'.join(new)}`; still valid.")
        for old, new in others.items()
        if len(new) > 1
    )


def sections() -> Chapter:
    """The sections of a recipe."""
    fields = Recipe.model_fields
    top = [key(name, field) for name, field in fields.items() if not _is_section(field)]
    topics = [Topic("recipe", "At the top of a recipe.", tuple(top))]
    for name, field in fields.items():
        if _is_section(field):
            found = section(name, field.annotation)  # type: ignore[arg-type]
            topics.append(Topic(name, found.about, found.keys + _former(name)))
    return Chapter(
        "sections", "Sections", "Every key has a default: a recipe names those that differ.", tuple(topics)
    )


def recipe_keys() -> dict[str, Key]:
    """Every key of a recipe by its dotted place."""
    return {one.place: one for topic in sections().topics for one in topic.keys}


def _is_section(field: FieldInfo) -> bool:
    return isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)
