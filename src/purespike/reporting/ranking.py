"""Many result cards as one leaderboard: grouped by what was asked of the models, best first."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from purespike.errors import InputError
from purespike.reporting.cards import Accuracy, Card, read_card
from purespike.reporting.words import MISSING, NORMS, THREATS


@dataclass(frozen=True)
class Column:
    """One column: ``key`` in files, ``title``, and for robust ones the threat model in a few words."""

    key: str
    title: str
    note: str = ""


COLUMNS = (
    Column("rank", "Rank"),
    Column("name", "Model"),
    Column("architecture", "Architecture"),
    Column("clean_acc", "Clean", "no attack"),
    Column("oblivious_acc", "Oblivious", THREATS["oblivious"].short),
    Column("adaptive_acc", "Adaptive", THREATS["adaptive"].short),
    Column("gap", "Gap", "oblivious − adaptive, points"),
    Column("transfer_acc", "Transfer", THREATS["transfer"].short),
    Column("query_acc", "Query", THREATS["query"].short),
    Column("worst_case", "Worst case", "all threat models against the whole"),
    Column("autoattack_acc", "AutoAttack", "threat model in each entry"),
    Column("images", "Images"),
    Column("verdict", "Verdict", "of the evaluation on itself"),
)
# what a card of RobustBench means by it: the whole model, its own gradient
FOREIGN = "white-box"


@dataclass(frozen=True)
class Field:
    """What stands in one place of a leaderboard: ``value`` sorts it, ``notes`` stand below it."""

    text: str
    value: float | str | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Line:
    """One model: ``rank`` is ``None`` where it cannot be ranked, and ``mark`` says why."""

    card: Card
    rank: int | None
    mark: str

    def fields(self) -> Iterator[tuple[Column, Field]]:
        for column in COLUMNS:
            yield column, self.field(column.key)

    def field(self, key: str) -> Field:
        """The field of a column by its key."""
        card = self.card
        if key == "rank":
            return Field(MISSING if self.rank is None else str(self.rank), self.rank)
        if key in ("name", "architecture"):
            text = str(getattr(card, key))
            return Field(text or MISSING, text.lower())
        if key == "gap":
            gap = self.gap
            return Field(MISSING if gap is None else f"{gap:.2f}".replace("-", "−"), gap)
        if key == "images":
            return Field(MISSING if card.images is None else f"{card.images:,}", card.images)
        if key == "verdict":
            notes = (self.mark,) if self.mark and self.mark != card.verdict else ()
            return Field(
                f"{card.verdict} †" if card.verdict == "unreliable" else card.verdict, card.verdict, notes
            )
        return self._accuracy(key)

    @property
    def gap(self) -> float | None:
        """Points between the oblivious and the adaptive accuracy."""
        pair = [self.card.accuracies.get(key) for key in ("oblivious_acc", "adaptive_acc")]
        first, second = pair
        return None if first is None or second is None else first.value - second.value

    def _accuracy(self, key: str) -> Field:
        found = self.card.accuracies.get(key)
        if found is None:
            return Field(MISSING)
        notes = [found.interval] if found.interval else []
        if key == "autoattack_acc":
            notes.append(self.card.autoattack_threat or FOREIGN)
            external = self.card.accuracies.get("external")
            if external and external.value < found.value:
                notes.append(f"{external.text} by another attack")
        return Field(found.text, found.value, tuple(notes))


@dataclass(frozen=True)
class Group:
    """Models that were asked the same: one data set, one norm, one budget."""

    dataset: str
    norm: str
    eps: str
    lines: tuple[Line, ...]

    @property
    def heading(self) -> str:
        norm = NORMS.get(self.norm, self.norm) or "norm not given"
        return f"{self.dataset}, {norm}, {f'eps {self.eps}' if self.eps else 'no eps bound'}"


@dataclass(frozen=True)
class Leaderboard:
    """All groups, and a line for each file that could not be used."""

    groups: tuple[Group, ...]
    warnings: tuple[str, ...]


def leaderboard(folder: str | Path) -> Leaderboard:
    """Collect every card at any depth below ``folder``.

    Within a data set, norm and budget the models are ranked by their adaptive worst case; one that knows no
    other number, such as a card of RobustBench, by AutoAttack or a better external attack. Below these stand,
    without a rank, models that no attacker who knows everything has met, and last those whose evaluation
    calls itself unreliable.

    Args:
        folder: of cards written by us (``card-*.json``) or of RobustBench's ``model_info`` files. Other JSON
            files are passed over; unusable ones are a line in ``warnings``.

    Raises:
        InputError: no such folder, or no card in it.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; give one that holds evaluations")
    cards: list[Card] = []
    warnings: list[str] = []
    for path in sorted(folder.rglob("*.json")):
        try:
            card = read_card(path)
        except InputError as error:
            warnings.append(str(error))
        else:
            cards += [card] if card else []
    if not cards:
        broken = f" ({len(warnings)} broken: {warnings[0]})" if warnings else ""
        raise InputError(
            f"{folder}: holds no result card{broken}; `purespike evaluate MODEL --out DIR` writes them"
        )
    groups: dict[tuple[str, str, float], list[Card]] = {}
    for card in cards:
        size = -1.0 if card.eps is None else round(card.eps, 6)
        groups.setdefault((card.dataset, card.norm, size), []).append(card)
    return Leaderboard(
        tuple(
            Group(dataset, norm, members[0].eps_text, tuple(_ranked(members)))
            for (dataset, norm, _), members in sorted(groups.items())
        ),
        tuple(warnings),
    )


def decisive(card: Card) -> Accuracy | None:
    """The accuracy that ranks a card: against the attacker who knows everything, or ``None``."""
    if "adaptive_acc" in card.accuracies:
        return card.accuracies["adaptive_acc"]
    known = [card.accuracies[key] for key in ("autoattack_acc", "external") if key in card.accuracies]
    return min(known, key=lambda accuracy: accuracy.value, default=None)


def _ranked(cards: list[Card]) -> Iterator[Line]:
    def tier(card: Card) -> int:
        if card.verdict == "unreliable":
            return 2
        return 0 if decisive(card) else 1

    def order(card: Card) -> tuple[int, float, float, str, str]:
        clean, key = card.accuracies.get("clean_acc"), decisive(card) or card.accuracies.get("worst_case")
        return (
            tier(card),
            -(key.value if key else -1.0),
            -(clean.value if clean else -1.0),
            card.name,
            str(card.path),
        )

    ranked = sorted(cards, key=order)
    values = [accuracy.value for card in ranked if tier(card) == 0 and (accuracy := decisive(card))]
    for card in ranked:
        accuracy = decisive(card)
        if tier(card) == 0 and accuracy:
            yield Line(card, 1 + sum(value > accuracy.value for value in values), "")
        else:
            yield Line(card, None, "unreliable" if tier(card) == 2 else "no adaptive attack")
