"""Tables that a reader typed in: a CSV file with a column for each attack."""

import csv
import io
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

from purespike.budget import parse_budget, parse_eps
from purespike.errors import InputError, brief, unknown
from purespike.reading import read_text
from purespike.results.vocabulary import ATTACKS, attack_words
from purespike.review.row import Entry, Row, Training
from purespike.scalars import check_whole
from purespike.text import parse_attack

ABOUT = ("name", "clean", "eps", "training", "training_eps", "stochastic", "images", "zero_gradient")
"""Columns that are no attacks."""
NOTHING = ("", "-", "–", "—", "n/a", "nan")
# names in print, without anything but letters and digits
ALIASES = {
    "bim": "ifgsm",
    "mim": "mifgsm",
    "aa": "autoattack",
    "cw": "cw",
    "candw": "cw",
    "apgd": "apgd_ce",
    "apgdt": "apgd_dlr",
    "sapgd": "sa_pgd",
}
COUNTS = ("steps", "restarts", "eot", "queries", "surrogates")
THREATS = ("white_box", "transfer", "query")
LARGEST = 10_000
"""Most rows of a table."""


def read_table(path: str | Path, *, eps: float | str | None = None) -> list[Row]:
    """The rows of a CSV file, whose accuracies are in percent.

    Needed are the columns ``name`` and ``clean``. ``eps``, ``training`` (``clean`` or ``adversarial``),
    ``training_eps``, ``stochastic`` (``yes`` or ``no``), ``images`` and ``zero_gradient`` (in percent) may be
    there; every other column is an attack as papers print it, ``PGD-7``, or as the command line takes it,
    ``pgd:steps=7:eot=10@8/255``: its settings are ``steps``, ``restarts``, ``eot``, ``queries``,
    ``surrogates``, ``norm`` and ``threat``, and after ``@`` stands its budget, or ``none`` where it has no
    bound. An empty cell was not reported.

    Args:
        path: path of the file.
        eps: budget of attacks that neither column nor row gives one.

    Raises:
        InputError: an unreadable file; a column, a number or a word that means nothing. The message names
            line and column.
    """
    text = read_text(path).lstrip("\ufeff")
    first = text.strip().partition("\n")[0]
    delimiter = max(",;\t", key=first.count)
    reader = csv.reader(io.StringIO(text), delimiter=delimiter, strict=True)
    try:
        numbered = [(reader.line_num, line) for line in reader if any(map(str.strip, line))]
    except csv.Error as error:
        raise InputError(f"{path}: cannot be read as CSV ({error})") from error
    if len(numbered) < 2:
        raise InputError(f"{path}: needs a line of column names and at least one row")
    if len(numbered) > LARGEST:
        raise InputError(f"{path}: has more than {LARGEST:,} rows")
    while _last_is_empty([line for _, line in numbered]):
        # as spreadsheets leave one
        numbered = [(number, line[:-1]) for number, line in numbered]
    names = [_line(name) for name in numbered[0][1]]
    names = [name.lower() if name.lower() in ABOUT else name for name in names]
    columns = _columns(names, path)
    default = None if eps is None else parse_eps(eps)
    rows = []
    for number, line in numbered[1:]:
        if len(line) != len(names):
            raise InputError(f"{path}: line {number}: {len(line)} cells under {len(names)} columns")
        cells = {
            name: _line(cell)
            for name, cell in zip(names, line, strict=True)
            if cell.strip().lower() not in NOTHING
        }
        rows.append(_row(cells, columns, default, f"{path}: line {number}"))
    return rows


def _line(text: str) -> str:
    """``text`` as one line that a terminal shows as it is."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def _last_is_empty(lines: list[list[str]]) -> bool:
    """Whether the last column of a table of several is empty."""
    length, *others = {len(line) for line in lines}
    return length > 1 and not others and not any(line[-1].strip() for line in lines)


def _columns(names: list[str], path: object) -> dict[str, dict[str, Any]]:
    """The settings of each attack's column, by its name."""
    for name in ("name", "clean"):
        if name not in names:
            raise InputError(f"{path}: no column {name!r}; found: {', '.join(names)}")
    if twice := [name for name in names if names.count(name) > 1]:
        raise InputError(f"{path}: column {twice[0]!r} is there twice; say what distinguishes the two")
    found: dict[str, dict[str, Any]] = {}
    for name in names:
        if name not in ABOUT:
            attack = _attack(name, f"{path}: column {name!r}")
            for other, settings in found.items():
                if settings == attack:
                    raise InputError(
                        f"{path}: columns {other!r} and {name!r} are one attack; say what tells them apart"
                    )
            found[name] = attack
    return found


def _attack(text: str, place: str) -> dict[str, Any]:
    attack, at, budget = text.partition("@")
    attack = re.sub(r"\((\d+)[\s-]*(?:steps?|iter\w*)\)", r"-\1", attack.strip(), flags=re.IGNORECASE)
    attack, norm = _without_norm(attack)
    settings = {**_at(place, parse_attack, attack), **norm}
    printed = re.fullmatch(r"(.*?[^\d\s_-])[\s_-]*(\d+)", settings["name"])
    attack_words("pgd")
    name = _known(settings.pop("name"), printed is None, place)
    if name is None and printed is not None:
        name = _known(printed[1], False, place) or _known(attack.strip(), True, place)
        counted = "queries" if name is not None and attack_words(name).by_queries else "steps"
        if settings.get(counted, int(printed[2])) != int(printed[2]):
            raise InputError(
                f"{place}: {counted} are {printed[2]} by its name and {settings[counted]} besides"
            )
        settings = {counted: int(printed[2]), **settings}
    found: dict[str, Any] = {"attack": name}
    for key, value in settings.items():
        if key in COUNTS:
            found[key] = check_whole(value, name=f"{place}: {key}", least=1)
        elif key == "norm" or (key == "threat" and value in THREATS):
            found[key] = value
        elif key == "threat":
            raise InputError(f"{place}: {unknown('threat model', str(value), THREATS)}")
        else:
            raise InputError(f"{place}: {unknown('setting', key, [*COUNTS, 'norm', 'threat'])}")
    if found.get("steps", 1) > 1 and attack_words(name or "").rank == 0:
        raise InputError(f"{place}: {attack_words(name or '').title} takes one step; BIM takes several")
    # C&W looks for the smallest change in L2
    unbounded = (name, found.get("norm")) == ("cw", "l2") and not at
    if unbounded or (at and budget.strip().lower() == "none"):
        found["unbounded"] = True
    elif "norm" in found and not at:
        raise InputError(f"{place}: names a norm without a budget; write {name}:norm={found['norm']}@EPS")
    elif at:
        found["eps"] = _at(place, parse_budget, budget or None, found.get("norm", "linf"))
    return found


def _without_norm(attack: str) -> tuple[str, dict[str, str]]:
    """An attack as papers print it, C&W-L2, without its norm."""
    found = re.fullmatch(r"([^:]*?[^:\s_-])[\s_-]*(l2|linf|l∞)((?::.*)?)", attack, flags=re.IGNORECASE)
    if found is None:
        return attack, {}
    return found[1] + found[3], {"norm": "l2" if found[2].lower() == "l2" else "linf"}


def _known(text: str, must: bool, place: str) -> str | None:
    """The name of an attack that a paper prints as ``text``."""
    plain = re.sub(r"[^a-z0-9]", "", text.lower().replace("&", "and"))
    by_title = {re.sub(r"[^a-z0-9]", "", words.title.lower()): name for name, words in ATTACKS.items()}
    by_name = {name.replace("_", ""): name for name in ATTACKS}
    name = {**by_title, **by_name, **ALIASES}.get(plain)
    if name is None and must:
        known = [*ABOUT, *ATTACKS]
        raise InputError(f"{place}: {unknown('attack or column', text.lower(), known)}")
    return name


def _row(
    cells: Mapping[str, str], columns: Mapping[str, Mapping[str, Any]], eps: float | None, place: str
) -> Row:
    for needed in ("name", "clean"):
        if needed not in cells:
            raise InputError(f"{place}: {needed} is empty")
    place = f"{place} ({brief(cells['name'])})"
    budget = _at(place, parse_eps, cells["eps"]) if "eps" in cells else eps
    told: dict[str, Entry] = {}
    for name, settings in columns.items():
        if name in cells:
            given = {"accuracy": _percentage(cells[name], f"{place}: {name}"), **settings}
            if "eps" not in settings and "unbounded" not in settings:
                given["eps"] = budget
            entry = Entry(**given)
            if (other := next((key for key, each in told.items() if _one(each, entry)), None)) is not None:
                raise InputError(
                    f"{place}: {other!r} and {name!r} are one attack at one budget; leave one of them empty"
                )
            told[name] = entry
    training, words = cells.get("training", "").lower() or None, get_args(Training)
    if training is not None and training not in words:
        raise InputError(f"{place}: training: must be {' or '.join(words)}, got {brief(training)}")
    stochastic = cells.get("stochastic", "").lower() or None
    if stochastic not in (None, "yes", "no"):
        raise InputError(f"{place}: stochastic: must be yes or no, got {brief(stochastic)}")
    images, silent = cells.get("images"), cells.get("zero_gradient")
    clean = _percentage(cells["clean"], f"{place}: clean")
    if clean <= 0.01:
        raise InputError(f"{place}: clean: give percentages, 91.5 and not 0.915; got {brief(cells['clean'])}")
    return Row(
        name=cells["name"],
        clean=clean,
        entries=tuple(told.values()),
        training=training,  # type: ignore[arg-type]
        training_eps=_at(place, parse_eps, cells["training_eps"]) if "training_eps" in cells else None,
        stochastic=None if stochastic is None else stochastic == "yes",
        images=None if images is None else _images(images, place),
        zero_gradient=None if silent is None else _percentage(silent, f"{place}: zero_gradient"),
    )


def _one(entry: Entry, other: Entry) -> bool:
    return replace(entry, accuracy=0.0) == replace(other, accuracy=0.0)


def _percentage(text: str, place: str) -> float:
    try:
        if "_" in text:
            raise ValueError
        # no comma is left but that of a decimal: one of thousands is no percentage
        value = float(text.rstrip("%").strip().replace(",", "."))
    except ValueError:
        raise InputError(f"{place}: must be a number in percent, got {brief(text)}") from None
    if not 0 <= value <= 100:
        raise InputError(f"{place}: must lie between 0 and 100 percent, got {brief(text)}")
    return value / 100


def _images(text: str, place: str) -> int:
    digits = text.replace(",", "").replace("_", "")
    return check_whole(
        int(digits) if re.fullmatch(r"\d{1,9}", digits) else text, name=f"{place}: images", least=1
    )


def _at(place: str, parse: Any, *given: Any) -> Any:
    try:
        return parse(*given)
    except InputError as error:
        raise InputError(f"{place}: {error}") from None
