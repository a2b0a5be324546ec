"""The course of training: one row per epoch in ``history.jsonl``."""

from pathlib import Path

from pydantic import ValidationError

from purespike.errors import InputError
from purespike.reading import brief, parse_json, read_text
from purespike.results.record import Count, Record
from purespike.section import explain


class Epoch(Record):
    """What one epoch recorded; losses, accuracies and costs are further keys.

    Args:
        stage: ``"classifier"``, ``"purifier"`` or another name.
        epoch: number of the epoch; 0 is the state before training.
    """

    stage: str
    epoch: Count

    def value(self, name: str) -> float | None:
        """A recorded number, if it was recorded."""
        value = (self.model_extra or {}).get(name)
        return value if isinstance(value, int | float) else None

    @property
    def firing_rates(self) -> dict[str, float]:
        """Share of its possible spikes that each layer emitted; empty if it was not recorded."""
        rates = (self.model_extra or {}).get("firing_rates")
        return rates if isinstance(rates, dict) else {}


def read_history(path: str | Path) -> list[Epoch]:
    """The rows of a ``history.jsonl``; empty if there is none.

    Raises:
        InputError: damaged file.
    """
    path = Path(path)
    if not path.exists():
        return []
    rows = []
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        if not line.strip():
            continue
        try:
            rows.append(Epoch.model_validate(parse_json(line, "")))
        except ValueError as error:
            reason = explain(error) if isinstance(error, ValidationError) else brief(error).removeprefix(": ")
            raise InputError(
                f"{path}: damaged (line {number}: {reason}); delete it, the checkpoints hold what it says"
            ) from None
    return rows
