"""Names of the models that ship, known without any heavy import."""

from pathlib import Path

from purespike.errors import InputError, unknown

PREFIX = "zoo:"
"""Before the name of a shipped model, wherever a model is named."""
FOLDER = Path(__file__).parent
ENTRIES = FOLDER / "entries"


def entry_names() -> tuple[str, ...]:
    """The names of all shipped models, sorted."""
    return tuple(sorted(path.stem for path in ENTRIES.glob("*.json")))


def check_zoo(name: str) -> None:
    """Check a name that begins with ``zoo:``.

    Raises:
        InputError: no such model.
    """
    if name.removeprefix(PREFIX) not in entry_names():
        raise InputError(f"{name}: {unknown('model of the zoo', name.removeprefix(PREFIX), entry_names())}")
