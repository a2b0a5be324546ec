"""A transfer matrix: which models' images break which."""

from typing import Any, ClassVar, Literal

from pydantic import Field

from purespike.budget import PARSERS, format_eps, same_eps
from purespike.errors import InputError
from purespike.results.cell import AttackSettings, Bounded
from purespike.results.provenance import DataDescription, ModelDescription, Provenance
from purespike.results.record import Count, Number, Outcome, Record
from purespike.results.score import Score
from purespike.results.vocabulary import attack_text
from purespike.scalars import parse_number


class TransferCell(Bounded):
    """Outcomes of one target on the images of one substitute; 1 is still classified correctly.

    The attack's cost and distance are those of the substitute, which all targets share.
    """

    substitute: str
    target: str
    outcomes: tuple[Outcome, ...]
    score: Score
    settings: AttackSettings
    forwards: Count
    backwards: Count
    seconds: Number
    mean_l2: Number
    warnings: tuple[str, ...] = ()
    white_box: bool

    @property
    def heading(self) -> str:
        """``PGD-20, L∞, eps 8/255``."""
        return f"{attack_text(self.attack, self.settings.steps)}, {self.condition}"

    def line(self) -> str:
        """One line for the console: the score, never without its threat model."""
        threat = "white-box" if self.white_box else "transfer"
        return (
            f"{self.heading}, {threat}, {self.substitute} → {self.target}: "
            f"{self.score.text}% of {self.score.n} {self.score.interval}"
        )


class Training(Record):
    """Training images of a substitute, as far as known.

    Args:
        images: their number.
        attacked: number of them among the attacked.
        targets: number of them in the training images of each target.
    """

    images: Count
    attacked: Count
    targets: dict[str, Count]


class TransferClean(Record):
    """Clean accuracy of each substitute and target."""

    substitutes: dict[str, Score]
    targets: dict[str, Score]


class TransferMatrix(Record):
    """Scores per attack, substitute and target: the content of ``transfer.json``."""

    if_unreadable: ClassVar[str] = "measure it again"

    schema_version: Literal[1] = Field(alias="schema")
    threat: str = "transfer"
    substitutes: dict[str, ModelDescription]
    targets: dict[str, ModelDescription]
    data: DataDescription
    training: dict[str, Training] = Field(default_factory=dict)
    settings: dict[str, Any]
    clean: TransferClean
    clean_outcomes: dict[str, dict[str, tuple[Outcome, ...]]]
    labels: tuple[Count, ...]
    cells: tuple[TransferCell, ...]
    seed: Count
    provenance: Provenance

    @property
    def content(self) -> dict[str, Any]:
        """The matrix as plain JSON values; see :meth:`to_json`."""
        return self.to_json()

    def cell(self, attack: str, substitute: str, target: str, eps: float | str | None = None) -> TransferCell:
        """The first cell of this attack and pair, at ``eps`` if given.

        Raises:
            InputError: there is none.
        """
        wanted = None if eps is None else PARSERS.get(self.settings["norm"], parse_number)(eps)
        for cell in self.cells:
            same_budget = wanted is None or (cell.eps is not None and same_eps(cell.eps, wanted))
            same = (cell.attack, cell.substitute, cell.target) == (attack, substitute, target)
            if same and same_budget:
                return cell
        budget = "" if wanted is None else f" at eps {format_eps(wanted)}"
        raise InputError(f"transfer matrix: holds no {attack} from {substitute} to {target}{budget}")

    def accuracy(self, attack: str, substitute: str, target: str, eps: float | str | None = None) -> float:
        """Accuracy in [0, 1] of :meth:`cell`."""
        return self.cell(attack, substitute, target, eps).score.accuracy

    def groups(self) -> list[list[TransferCell]]:
        """The cells of each attack and budget, a full matrix each, in the order they were measured."""
        size = len(self.substitutes) * len(self.targets)
        return [list(self.cells[start : start + size]) for start in range(0, len(self.cells), size)]

    def __str__(self) -> str:
        """One line per cell, with its threat model."""
        return "\n".join([f"Transfer on {self.data.text}", *(cell.line() for cell in self.cells)])

    __repr__ = __str__
