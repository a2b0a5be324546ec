"""Result cards: one model at one budget; ours, and RobustBench's ``model_info`` files, which know less."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field, field_validator, model_validator

from purespike.budget import format_eps
from purespike.results.finding import Finding, Verdict
from purespike.results.lenient import Percent, Size, Text
from purespike.results.record import Record, read_value
from purespike.results.vocabulary import NORMS, THREATS, percent

_MARKS = ("clean_acc", "autoattack_acc", "adaptive_acc")
_NORMS = {
    "linf": "linf",
    "l_inf": "linf",
    "l∞": "linf",
    "l2": "l2",
    "l_2": "l2",
    "corruptions": "corruptions",
}


@dataclass(frozen=True)
class Accuracy:
    """An accuracy in percent, with its 95% Wilson interval where the card gives one."""

    value: float
    low: float | None = None
    high: float | None = None

    @property
    def text(self) -> str:
        """The accuracy with two decimals."""
        return percent(self.value / 100, 2)

    @property
    def interval(self) -> str:
        """The interval in brackets, or nothing."""
        if self.low is None or self.high is None:
            return ""
        return f"[{percent(self.low / 100, 2)}, {percent(self.high / 100, 2)}]"


class CleanCard(Record):
    """Clean accuracy of the classifier alone, and with its purifier."""

    bare: Percent
    purified: Percent


class Card(Record):
    """One model at one budget, in the shape of RobustBench's ``model_info`` files, and beyond.

    As there, accuracies are text in percent of two decimals; all are of the attacked images. Its keys come
    first, what only we know follows. In files, ``robust`` is one key per threat model, ``adaptive_acc`` and
    its kin, each a worst case per image over the attacks of one threat model; what was not measured is
    ``None``.

    Args:
        link: web address of model or paper; anything else is dropped.
        name: name of the model.
        authors: authors of the model.
        additional_data: whether it was trained on more than the data set.
        number_forward_passes: passes over which an image is judged.
        dataset: data set of the images.
        venue: place of publication.
        architecture: architecture of the model; empty if not given.
        eps: budget; ``None`` if the card names none.
        clean_acc: clean accuracy.
        reported: robust accuracy that the authors claim, in percent.
        autoattack_acc: accuracy under AutoAttack and nothing else; ``None`` where it was not run, end to end
            and to its end, by an attacker who knows the defended model.
        footnote: further notes for readers.
        unreliable: whether the evaluation calls itself unreliable.
        norm: ``"linf"``, ``"l2"``, another word, or empty if neither the file nor its folder says.
        autoattack_threat: threat model of ``autoattack_acc``.
        autoattack_version: version of AutoAttack.
        external: accuracy under a better attack than AutoAttack, in files of RobustBench.
        robust: worst case by threat model.
        worst_case: worst case over every attack on the defended model.
        intervals: 95% Wilson intervals in percent, by key.
        clean: clean accuracy without and with the purifier.
        attacks: attacks by threat model.
        images: number of attacked images.
        fingerprint: digest of these images; ``None`` if unknown.
        verdict: verdict of the evaluation on itself.
        diagnostics: findings that the verdict rests on.
        warnings: complaints of the attacks.
        seed: seed of the evaluation.
        commit: commit of the checkout.
        dirty: whether tracked files differed from it.
        command: command line.
        date: time in ISO 8601.
        path: file that it was read from.
    """

    if_unreadable: ClassVar[str] = "write it again or take it away"

    link: Text = ""
    name: Text
    authors: Text = ""
    additional_data: bool | None = None
    number_forward_passes: int | None = None
    dataset: Text
    venue: Text = ""
    architecture: Text = ""
    eps: Size = None
    clean_acc: Percent = None
    reported: str | float | None = None
    autoattack_acc: Percent = None
    footnote: Text = ""
    unreliable: bool = False
    norm: str = ""
    autoattack_threat: str | None = None
    autoattack_version: str | None = None
    external: Percent = None
    robust: dict[str, Percent] = Field(default_factory=dict)
    worst_case: Percent = None
    intervals: dict[str, tuple[Percent, Percent]] | None = None
    clean: CleanCard | None = None
    attacks: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    images: int | None = None
    fingerprint: str | None = None
    verdict: Verdict | None = None
    diagnostics: tuple[Finding, ...] | None = None
    warnings: tuple[str, ...] = ()
    seed: int | None = None
    commit: str | None = None
    dirty: bool | None = None
    command: str | None = None
    date: str | None = None
    path: Path = Field(default=Path(), exclude=True)

    @model_validator(mode="before")
    @classmethod
    def _gather(cls, value: Any) -> Any:
        if not isinstance(value, dict) or "robust" in value:
            return value
        keys = {f"{threat}_acc": threat for threat in THREATS}
        robust = {keys[key]: share for key, share in value.items() if key in keys}
        verdict = value.get("verdict")
        rest = {key: item for key, item in value.items() if key not in keys}
        # older files name the level alone
        return (
            rest | {"robust": robust} | ({"verdict": {"level": verdict}} if isinstance(verdict, str) else {})
        )

    @field_validator("name", "dataset")
    @classmethod
    def _given(cls, value: str) -> str:
        if not value:
            raise ValueError("is missing")
        return value

    @field_validator("link")
    @classmethod
    def _address(cls, value: str) -> str:
        return value if re.match(r"https?://", value) else ""

    def to_json(self) -> dict[str, Any]:
        """The card as plain JSON values."""
        shown = super().to_json()
        robust = shown.pop("robust", {})
        place = list(shown).index("worst_case") if "worst_case" in shown else len(shown)
        keys = list(shown)
        return (
            {key: shown[key] for key in keys[:place]}
            | {f"{threat}_acc": share for threat, share in robust.items()}
            | {key: shown[key] for key in keys[place:]}
        )

    def accuracy(self, key: str) -> Accuracy | None:
        """An accuracy by its key, ``"clean_acc"`` or ``"adaptive_acc"``; ``None`` if the card has none."""
        threat = key.removesuffix("_acc")
        value = self.robust[threat] if threat in self.robust else getattr(self, key, None)
        if value is None:
            return None
        return Accuracy(value, *(self.intervals or {}).get(key, ()))

    @property
    def eps_text(self) -> str:
        """The budget as text, or nothing."""
        return "" if self.eps is None else format_eps(self.eps)

    @property
    def budget(self) -> str:
        """Norm and size of the budget: ``"L∞ eps 8/255"``."""
        return f"{NORMS.get(self.norm, self.norm)} eps {self.eps_text}"

    @property
    def level(self) -> str:
        """``"reliable"``, ``"suspicious"``, ``"unreliable"`` or ``"not examined"``."""
        if self.unreliable:
            return "unreliable"
        return self.verdict.level if self.verdict else "not examined"


def read_card(path: Path) -> Card | None:
    """The card in a JSON file; ``None`` if it is something else than a card.

    Raises:
        InputError: not readable JSON, or a card with a value that makes no sense.
    """
    value = read_value(path)
    if not isinstance(value, dict) or not (
        path.name.startswith("card-") or any(mark in value for mark in _MARKS)
    ):
        return None
    given = value.get("norm")
    # files of RobustBench lie in folders called after the threat model
    words = [str(given)] if given else reversed(path.parts[:-1])
    known = (_NORMS.get(word.lower()) for word in words)
    norm = next((word for word in known if word), str(given or ""))
    return Card.from_json({**value, "norm": norm, "path": path}, source=str(path))
