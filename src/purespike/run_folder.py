"""Owners of folders: one folder holds the run of one recipe, and one process at a time writes into it."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from purespike.errors import InputError
from purespike.files import is_temporary, remove_abandoned
from purespike.recipe import Recipe, parse_recipe
from purespike.results import Evaluation, ModelDescription
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
        # a process killed at its first write leaves a temporary file alone
        others = folder.is_dir() and any(not is_temporary(each) for each in folder.iterdir())
        if others or (folder.exists() and not folder.is_dir()):
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


@contextlib.contextmanager
def in_use(folder: Path, *, by: bool = True) -> Iterator[None]:
    """Keep other processes out of ``folder``, made if missing, until the end or the death of this one.

    Temporary files of killed processes in it are removed. A file system without locks keeps nobody out.

    Args:
        folder: the folder.
        by: whether this process is the one that writes; of several that share a run only the main one does.

    Raises:
        InputError: another process works in the folder.
    """
    try:
        import fcntl
    except ImportError:
        by = False
    if not by:
        yield
        return
    folder.mkdir(parents=True, exist_ok=True)
    # a lock on the folder itself leaves no file behind
    handle = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise InputError(
                    f"{folder}: another process works in it; wait for its end, or choose another --out"
                ) from None
        remove_abandoned(folder)
        yield
    finally:
        os.close(handle)


def check_folder(folder: Path | None) -> None:
    """Check that ``folder``, if one is given, is none of the files.

    Raises:
        InputError: it is.
    """
    if folder is not None and folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: is a file; --out is a folder")


def check_output(folder: Path, model: ModelDescription | None = None) -> None:
    """Check that an evaluation may write into ``folder``: nothing of anybody else would be replaced.

    Args:
        folder: folder of the results.
        model: the model to evaluate; ``None`` where it is not known yet.

    Raises:
        InputError: a file, a run folder, or a folder with results that no evaluation wrote, or one of another
            model.
    """
    check_folder(folder)
    if (folder / "recipe.yaml").exists():
        raise InputError(f"{folder}: is a run folder with an evaluation of its own; choose another --out")
    kept = folder / "evaluation.json"
    if kept.exists():
        try:
            former = Evaluation.read(kept).model
        except InputError as error:
            raise InputError(f"{error}; it would be replaced: choose another --out, or delete it") from None
        if model is not None and _architecture(model) != _architecture(former):
            raise InputError(
                f"{kept}: is that of another model ({former.text}); choose another --out, or delete it"
            )
    elif (folder / "report.html").exists():
        raise InputError(
            f"{folder / 'report.html'}: belongs to no evaluation and would be replaced; choose another --out"
        )


def _architecture(model: ModelDescription) -> tuple[object, ...]:
    """What tells models apart, and stays the same when their descriptions gain settings."""
    return model.classifier.text, model.purifier and model.purifier.text


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
