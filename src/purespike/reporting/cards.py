"""Reading result cards: ours, and the model_info files of RobustBench, which know less."""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from purespike.errors import InputError
from purespike.reporting.words import eps_text

# the accuracies of a card; a foreign one has the first two, and "external", a better attack than AutoAttack
ACCURACIES = (
    "clean_acc",
    "autoattack_acc",
    "oblivious_acc",
    "bpda_acc",
    "adaptive_acc",
    "transfer_acc",
    "query_acc",
    "worst_case",
    "external",
)
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
        return f"{self.value:.2f}"

    @property
    def interval(self) -> str:
        return "" if self.low is None or self.high is None else f"[{self.low:.2f}, {self.high:.2f}]"


@dataclass(frozen=True)
class Card:
    """One model at one budget.

    Args:
        path: of its file.
        name: of the model.
        architecture: of the model; empty if not given.
        dataset: what it was measured on.
        norm: ``"linf"``, ``"l2"``, another word, or empty if neither the file nor its folder says.
        eps: budget, or ``None`` if the card names none.
        accuracies: of :data:`ACCURACIES`, those that the card gives.
        images: how many were attacked, if known.
        verdict: ``"reliable"``, ``"suspicious"``, ``"unreliable"`` or ``"not examined"``.
        autoattack_threat: the threat model of ``autoattack_acc``; empty if the card does not say.
        link: web address of the model, or empty.
    """

    path: Path
    name: str
    architecture: str
    dataset: str
    norm: str
    eps: float | None
    accuracies: Mapping[str, Accuracy]
    images: int | None
    verdict: str
    autoattack_threat: str
    link: str

    @property
    def eps_text(self) -> str:
        return "" if self.eps is None else eps_text(self.eps)


def read_card(path: Path) -> Card | None:
    """Read one JSON file; ``None`` if it is something else than a card.

    Raises:
        InputError: not readable JSON, or a card with a value that makes no sense.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read ({type(error).__name__})") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not JSON ({' '.join(str(error).split())})") from None
    if not isinstance(value, dict) or not (
        path.name.startswith("card-") or any(mark in value for mark in _MARKS)
    ):
        return None
    try:
        return _card(path, value)
    except (TypeError, ValueError, OverflowError, ZeroDivisionError) as error:
        raise InputError(f"{path}: damaged card: {error}; write it again or take it away") from None


def _card(path: Path, value: Mapping[str, Any]) -> Card:
    threat, link = (str(value.get(key) or "") for key in ("autoattack_threat", "link"))
    return Card(
        path=path,
        name=_text(value, "name"),
        architecture=str(value.get("architecture") or ""),
        dataset=_text(value, "dataset"),
        norm=_norm(path, value.get("norm")),
        eps=_eps(value.get("eps")),
        accuracies=_accuracies(value),
        images=_count(value.get("images")),
        verdict=_verdict(value),
        autoattack_threat=threat,
        link=link if re.match(r"https?://", link) else "",
    )


def _text(value: Mapping[str, Any], key: str) -> str:
    text = value.get(key)
    if not isinstance(text, str) or not text.strip():
        raise ValueError(f"{key!r} is missing")
    return text.strip()


def _norm(path: Path, given: Any) -> str:
    if given:
        return _NORMS.get(str(given).lower(), str(given))
    # RobustBench's files lie in folders called after the threat model
    parts = (_NORMS.get(part.lower()) for part in reversed(path.parts[:-1]))
    return next((norm for norm in parts if norm), "")


def _eps(given: Any) -> float | None:
    if given is None or (isinstance(given, str) and given.strip().lower() in ("", "none", "null")):
        return None
    eps = _number(Fraction(given.replace(" ", "")) if isinstance(given, str) else given, "eps")
    if eps < 0:
        raise ValueError(f"eps {given!r} is negative")
    return eps


def _accuracies(value: Mapping[str, Any]) -> dict[str, Accuracy]:
    intervals = value.get("intervals") or {}
    if not isinstance(intervals, Mapping):
        raise TypeError("'intervals' is not a mapping")
    found = {}
    for key in ACCURACIES:
        if value.get(key) in (None, ""):
            continue
        low = high = None
        if intervals.get(key) is not None:
            low, high = (_percent(end, key) for end in intervals[key])
        found[key] = Accuracy(_percent(value[key], key), low, high)
    return found


def _percent(given: Any, key: str) -> float:
    number = _number(given, key)
    if not 0 <= number <= 100:
        raise ValueError(f"{key} {given!r} is no percentage")
    return number


def _number(given: Any, key: str) -> float:
    try:
        number = float(given)
    except (TypeError, ValueError):
        raise ValueError(f"{key} {given!r} is not a number") from None
    if isinstance(given, bool) or not math.isfinite(number):
        raise ValueError(f"{key} {given!r} is not a number")
    return number


def _count(given: Any) -> int | None:
    return None if given is None else int(_number(given, "images"))


def _verdict(value: Mapping[str, Any]) -> str:
    verdict = value.get("verdict")
    level = verdict.get("level") if isinstance(verdict, Mapping) else verdict
    if value.get("unreliable") is True:
        return "unreliable"
    return str(level) if level else "not examined"
