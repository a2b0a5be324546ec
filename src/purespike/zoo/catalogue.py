"""An entry of the zoo: a model, how it was trained, how it was attacked, and what was found."""

from collections.abc import Iterator
from typing import Any, ClassVar

from pydantic import Field, model_validator

from purespike.errors import unknown
from purespike.results.card import Card
from purespike.results.record import Record
from purespike.zoo.names import ENTRIES, FOLDER, PREFIX, entry_names

WEIGHTS = FOLDER / "weights"


class Part(Record):
    """A file of weights: its name in ``weights/``, and the SHA-256 of its content."""

    file: str
    sha256: str


class Training(Record):
    """How the last part of a model was trained: recipe, command, commit, machine and time."""

    recipe: dict[str, Any]
    command: str | None = None
    commit: str | None = None
    date: str | None = None


class Entry(Record):
    """A shipped model.

    Args:
        name: its name.
        about: one line about it.
        data: source of its images (:func:`purespike.data.load_data`).
        classifier: weights of the classifier.
        purifier: weights of the purifier before it; ``None`` for a classifier alone.
        training: how it was trained.
        evaluation: settings of the evaluation that ``card`` tells of, for :func:`purespike.evaluate`.
        card: accuracies with their threat models, intervals and verdict; ``None`` before the measurement.
    """

    if_unreadable: ClassVar[str] = "install purespike again"

    name: str
    about: str
    data: str
    classifier: Part
    purifier: Part | None = None
    training: Training
    evaluation: dict[str, Any] = Field(default_factory=dict)
    card: Card | None = None

    @model_validator(mode="before")
    @classmethod
    def _card(cls, value: Any) -> Any:
        # a card reads more spellings of itself than a field would
        if isinstance(value, dict) and isinstance(value.get("card"), dict):
            return {**value, "card": Card.from_json(value["card"], source=str(value.get("name", "")))}
        return value

    def to_json(self) -> dict[str, Any]:
        """The entry as plain JSON values."""
        return {**super().to_json(), **({"card": self.card.to_json()} if self.card else {})}

    @property
    def parts(self) -> Iterator[Part]:
        """The files of its weights, purifier first."""
        yield from (part for part in (self.purifier, self.classifier) if part is not None)

    def load(self) -> Any:
        """The model: see :func:`purespike.zoo.load`."""
        from purespike.zoo.loading import load

        return load(self.name)

    def lines(self) -> Iterator[str]:
        """The entry for readers: what it is, its weights, its training, its accuracies."""
        yield f"{self.name}: {self.about}"
        yield f"images: {self.data}"
        for part in self.parts:
            yield f"weights: {part.file}, sha256 {part.sha256}"
        if self.training.commit:
            yield f"trained: {self.training.command} at commit {self.training.commit[:12]}"
        if self.card is not None:
            yield from card_lines(self.card)


def card_lines(card: Card) -> Iterator[str]:
    """The accuracies of a card, each with its threat model and interval, and the verdict."""
    if clean := card.accuracy("clean_acc"):
        yield f"clean accuracy: {clean.text}% {clean.interval} of {card.images} images"
    for threat in card.robust:
        if found := card.accuracy(f"{threat}_acc"):
            with_what = ", ".join(card.attacks.get(threat, ()))
            yield f"{threat}, {card.budget}: {found.text}% {found.interval} ({with_what})"
    if worst := card.accuracy("worst_case"):
        yield f"worst case per image, {card.budget}: {worst.text}% {worst.interval}"
    yield f"verdict: {card.level}"


def read_entry(name: str) -> Entry:
    """The entry of a name, with or without ``zoo:`` before it.

    Raises:
        InputError: no such model, or a damaged entry.
    """
    if not isinstance(name, str):
        raise unknown("model of the zoo", name, entry_names())
    known, bare = entry_names(), name.removeprefix(PREFIX)
    if bare not in known:
        raise unknown("model of the zoo", bare, known)
    return Entry.read(ENTRIES / f"{bare}.json")
