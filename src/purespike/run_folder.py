"""Which recipe a run folder belongs to: one folder holds the run of one recipe."""

from pathlib import Path
from typing import Any

from purespike.errors import InputError
from purespike.recipe import Recipe, parse_recipe
from purespike.yaml_text import parse_yaml, read_yaml


def check_owner(recipe: Recipe, folder: Path) -> None:
    """Check that ``folder`` is missing, empty, or a run of exactly ``recipe``.

    A key newer than the recipe in the folder has its default.

    Raises:
        InputError: the folder belongs to another recipe (the message names the keys that differ), or is
            not a run folder.
    """
    path = folder / "recipe.yaml"
    if not path.exists():
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise InputError(f"{folder}: exists and is not a run folder; choose another --out")
        return
    other = _read(path)
    mine = parse_yaml(recipe.to_yaml())
    if other != mine:
        changed = sorted(_differences(mine, other)) if isinstance(other, dict) else ["everything"]
        raise InputError(
            f"{folder}: belongs to another recipe (differs in {', '.join(changed[:5])}); "
            "choose another --out, or delete it to start again"
        )


def _read(path: Path) -> Any:
    """Content of the recipe at ``path``, every default written out; unchanged if it is not a recipe."""
    try:
        other = read_yaml(path)
    except InputError:
        return None
    try:
        return parse_yaml(parse_recipe(other).to_yaml()) if isinstance(other, dict) else other
    except InputError:
        return other


def _differences(a: Any, b: Any, prefix: str = "") -> set[str]:
    if isinstance(a, dict) and isinstance(b, dict):
        return {
            key
            for name in a.keys() | b.keys()
            for key in _differences(a.get(name), b.get(name), f"{prefix}.{name}".lstrip("."))
        }
    return set() if a == b else {prefix}
