"""Origin and settings of a run as lists of names and values."""

from collections.abc import Iterator, Mapping
from typing import Any

from purespike.budget import format_eps
from purespike.results import Evaluation, Provenance


def provenance_facts(evaluation: Evaluation, environment: Provenance | None) -> list[tuple[str, str]]:
    """Origin of the numbers, by name; the evaluation's own record goes before the run's."""
    origin = evaluation.provenance or environment or Provenance()
    purifier = evaluation.model.purifier
    lines = [
        *origin_facts(origin, evaluation.seed),
        ("classifier", evaluation.model.classifier.text),
        ("purifier", purifier.text if purifier else "none"),
        ("data", evaluation.data.text),
        ("fingerprint", evaluation.data.fingerprint),
    ]
    return [(name, str(value)) for name, value in lines if value not in (None, "")]


def origin_facts(origin: Provenance, seed: int | None) -> list[tuple[str, Any]]:
    """Command, commit, seed, date and machine, by name.

    Args:
        origin: the record of them.
        seed: seed of the result; ``None`` for that of the record.
    """
    commit = origin.commit or "unknown"
    return [
        ("command", origin.command),
        ("commit", f"{commit}, with uncommitted changes" if origin.dirty else commit),
        ("seed", origin.seed if seed is None else seed),
        ("date", origin.date),
        ("hardware", origin.hardware.text),
        ("versions", ", ".join(f"{name} {version}" for name, version in origin.versions.items())),
    ]


def recipe_facts(recipe: Mapping[str, Any]) -> list[tuple[str, list[tuple[str, str]]]]:
    """The recipe as titled lists of settings; nested names are joined by dots."""
    plain = [
        (str(name), _show(value, str(name)))
        for name, value in recipe.items()
        if not isinstance(value, Mapping)
    ]
    nested = [(str(name), list(_flat(value))) for name, value in recipe.items() if isinstance(value, Mapping)]
    return ([("general", plain)] if plain else []) + nested


def _flat(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in settings.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", _show(value, str(name))


def _show(value: Any, name: str) -> str:
    if value is None or value == {} or value == []:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return format_eps(value) if "eps" in name or name == "step_size" else f"{value:g}"
    if isinstance(value, list | tuple):
        nested = any(isinstance(item, Mapping) for item in value)
        return ("; " if nested else ", ").join(_show(item, name) for item in value)
    if isinstance(value, Mapping):
        shown = [(key, _show(item, str(key))) for key, item in value.items()]
        return ", ".join(item if key == "name" else f"{key} {item}" for key, item in shown)
    return str(value)
