"""Result cards in groups that can be compared, the best first."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from purespike.errors import InputError
from purespike.results import Accuracy, Card, read_card
from purespike.results.vocabulary import MISSING, NORMS, THREATS, percent


@dataclass(frozen=True)
class Column:
    """One column: ``key`` in files, ``title``, and for robust ones the threat model in a few words."""

    key: str
    title: str
    note: str = ""
    text: bool = False


def columns() -> list[Column]:
    """The columns, with one for every registered threat model that leaderboards show."""
    threats = [
        Column(f"{words.name}_acc", words.title, words.short) for words in THREATS.values() if words.ranked
    ]
    place = 1 + [column.key for column in threats].index("adaptive_acc")
    return [
        Column("rank", "Rank"),
        Column("name", "Model", text=True),
        Column("architecture", "Architecture", text=True),
        Column("clean_acc", "Clean", "no attack"),
        *threats[:place],
        Column("gap", "Gap", "oblivious − adaptive, points"),
        *threats[place:],
        Column("worst_case", "Worst case", "all end-to-end threat models"),
        Column("autoattack_acc", "AutoAttack", "threat model in each entry"),
        Column("images", "Images"),
        Column("verdict", "Verdict", "of the evaluation on itself", text=True),
    ]


# meaning of AutoAttack in a card of RobustBench: end to end, with the gradient of the model itself
FOREIGN = "white-box"


@dataclass(frozen=True)
class Field:
    """One entry of a leaderboard: ``value`` sorts it, ``notes`` are below it."""

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
        """Every column with its entry."""
        for column in columns():
            yield column, self.field(column.key)

    def field(self, key: str) -> Field:
        """The entry of a column by its key."""
        card = self.card
        if key == "rank":
            return Field(MISSING if self.rank is None else str(self.rank), self.rank)
        if key in ("name", "architecture"):
            text = str(getattr(card, key))
            return Field(text or MISSING, text.lower())
        if key == "gap":
            gap = self.gap
            return Field(MISSING if gap is None else percent(gap / 100, 2).replace("-", "−"), gap)
        if key == "images":
            return Field(MISSING if card.images is None else f"{card.images:,}", card.images)
        if key == "verdict":
            notes = (self.mark,) if self.mark and self.mark != card.level else ()
            return Field(f"{card.level} †" if card.level == "unreliable" else card.level, card.level, notes)
        return self._accuracy(key)

    @property
    def gap(self) -> float | None:
        """Points between the oblivious and the adaptive accuracy."""
        first, second = self.card.accuracy("oblivious_acc"), self.card.accuracy("adaptive_acc")
        return None if first is None or second is None else first.value - second.value

    def _accuracy(self, key: str) -> Field:
        found = self.card.accuracy(key)
        if found is None:
            return Field(MISSING)
        notes = [found.interval] if found.interval else []
        if key == "autoattack_acc":
            notes.append(self.card.autoattack_threat or FOREIGN)
            external = self.card.accuracy("external")
            if external and external.value < found.value:
                notes.append(f"{external.text} by another attack")
        return Field(found.text, found.value, tuple(notes))


@dataclass(frozen=True)
class Group:
    """Models that can be compared: one data set, one norm, one budget."""

    dataset: str
    norm: str
    eps: str
    lines: tuple[Line, ...]

    @property
    def heading(self) -> str:
        """Data set, norm and budget, and whether the models are known to have met different images."""
        norm = NORMS.get(self.norm, self.norm) or "norm not given"
        known = {line.card.fingerprint for line in self.lines if line.card.fingerprint}
        others = ", attacked on different images" if len(known) > 1 else ""
        return f"{self.dataset}, {norm}, {f'eps {self.eps}' if self.eps else 'no eps bound'}{others}"


@dataclass(frozen=True)
class Leaderboard:
    """All groups, and a line for each file that could not be used."""

    groups: tuple[Group, ...]
    warnings: tuple[str, ...]


def leaderboard(folder: str | Path) -> Leaderboard:
    """Collect every card at any depth below ``folder``.

    Within a data set, norm and budget the models are ranked by their adaptive worst case; one that knows no
    other number, such as a card of RobustBench, by AutoAttack or a better external attack. Below these,
    without a rank, are models without an adaptive attack, and last those whose evaluation calls itself
    unreliable.

    Args:
        folder: folder of our cards (``card-*.json``) or of RobustBench's ``model_info`` files. Other JSON
            files are passed over; unusable ones are a line in ``warnings``.

    Raises:
        InputError: no such folder, or no card in it.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; give one that holds evaluations")
    cards: list[Card] = []
    warnings: list[str] = []
    for path in sorted(path for path in folder.rglob("*.json") if path.is_file()):
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
    warnings += [
        f"{card.path}: threat model {threat!r}, which nobody registered; --import its module for its column"
        for card in cards
        for threat in card.attacks.keys() - THREATS.keys()
    ]
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
    adaptive = card.accuracy("adaptive_acc")
    if adaptive:
        return adaptive
    known = [found for key in ("autoattack_acc", "external") if (found := card.accuracy(key))]
    return min(known, key=lambda accuracy: accuracy.value, default=None)


def _ranked(cards: list[Card]) -> Iterator[Line]:
    def tier(card: Card) -> int:
        if card.level == "unreliable":
            return 2
        return 0 if decisive(card) else 1

    def order(card: Card) -> tuple[int, float, float, str, str]:
        clean, key = card.accuracy("clean_acc"), decisive(card) or card.accuracy("worst_case")
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
