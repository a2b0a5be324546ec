"""Names that try something, wherever somebody else may choose one: pages stay as with plain names."""

import csv
import html.parser
import io
import json
import random
import re
import shutil
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from torture.process import Ended, call
from torture.scenes import Desk, files, folder
from torture.work import Case, Outcome, Settings, tail

TITLE = "Names that try something"
NAMES = {
    "script": "<script>alert(1)</script>",
    "image": "<img src=x onerror=alert(1)>",
    "end of script": "</script></style></title><b>",
    "attribute": '" onmouseover="alert(1)',
    "entity": "&lt;script&gt;&#x41;",
    "template": "{{ 7 * 7 }}{% raw %}",
    "formula": "=cmd|' /C calc'!A0",
    "formula at": "@SUM(1+1)*cmd",
    "formula plus": "+1+cmd",
    "formula minus": "-2+3",
    "formula after a tab": "\t=1+1",
    "input": r"\input{/etc/passwd}",
    "end": r"}\end{tabular}\write18{true}",
    "comment": "% nothing",
    "cells": "a & b | c \\\\ d",
    "parent": "../../up",
    "root": "/etc/passwd",
    "break": "one\ntwo\r\nthree",
    "heading": "\n# heading\n| a | b |",
    "link": "[a](javascript:alert(1)) ![b](x)",
    "emphasis": "**a** `b` ~~c~~ <!-- d -->",
    "colour": "\x1b[31mred\x1b]0;title\x07",
    "bell": "\x07\x08\x9b31m",
    "right to left": "\u202egnp.exe\u2066",
    "separator": "a\u2028b\u2029c",
    "zero": "a\x00b",
    "markup": "[bold red]a[/bold red][/]",
    "long": "n" * 5000,
    "emoji": "🐍" * 50,
}
PLAIN = "plain"
PLACES = ("--name", "class names", "run folder", "substitute and target", "cards", "module", "attack")
_IN_FOLDERS = ("run folder", "module")
"""Places that are names of files, where the system itself allows less."""
_FEW = ("script", "formula", "input", "parent", "break", "colour")
"""Names of classes, for each of which a network is trained."""
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
_ESCAPED = {
    "textbackslash",
    "textasciicircum",
    "textasciitilde",
    "textless",
    "textgreater",
    "textbar",
    "ldots",
}
_ESCAPED |= {*"{}$&#%_", "infty", "sigma", "times", "dagger"}


def cases(settings: Settings) -> Iterator[Case]:
    """Every name in every place where it can stand."""
    for place in PLACES if settings.full else ("cards", "--name"):
        for kind in NAMES if settings.full else ("script", "formula", "input", "colour"):
            if place in _IN_FOLDERS and not _a_file_name(NAMES[kind]):
                continue
            if place == "class names" and kind not in _FEW:
                continue
            yield Case(f"{place}/{kind}", place, partial(_named, place, NAMES[kind]))


def _named(place: str, name: str, desk: Desk, draw: random.Random) -> Outcome:
    """Write results with a plain name and with this one, and compare everything but the name."""
    outcome = Outcome()
    plain = desk.once(f"plain {place}", partial(_plain, place))
    with folder() as tried:
        ended = WRITERS[place](tried, name, desk)
        if ended.code == 2 and len(ended.errors) == 1 and "Traceback" not in ended.err:
            # refused, which is inert
            outcome.figures = {"refused": 1}
            return outcome
        if ended.code != 0:
            outcome.faults.append(("accepted, or refused in a line", f"code {ended.code}: {tail(ended.err)}"))
            return outcome
        outcome.faults += _terminal(ended)
        outcome.faults += _compared(tried, plain, name)
    return outcome


def _plain(place: str, desk: Desk, made: Path) -> None:
    ended = WRITERS[place](made, PLAIN, desk)
    if ended.code != 0:
        raise RuntimeError(f"{place}: not even a plain name: {ended.err}")


def _terminal(ended: Ended) -> Iterator[tuple[str, str]]:
    if found := _CONTROL.search(ended.out + ended.err):
        yield "no control characters on the terminal", f"{found[0]!r} in {tail(ended.out + ended.err)!r}"


def _compared(tried: Path, plain: Path, name: str) -> Iterator[tuple[str, str]]:
    """Faults of the files below ``tried`` beside those with a plain name."""

    def named(root: Path, own: str) -> dict[str, Path]:
        # finished chunks are called after a digest of everything that decides them
        paths = [path for path in files(root) if "checkpoint" not in path.parts]
        return {str(path.relative_to(root)).replace(own, PLAIN): path for path in paths}

    mine, theirs = named(tried, name), named(plain, PLAIN)
    if mine.keys() != theirs.keys():
        yield "the same files", f"{sorted(mine.keys() ^ theirs.keys())[:5]}"
    for path in sorted(mine.keys() & theirs.keys()):
        judge = JUDGES.get(Path(path).suffix)
        if judge is not None:
            texts = [each[path].read_text(encoding="utf-8") for each in (mine, theirs)]
            if (found := judge(texts[0])) != (expected := judge(texts[1])):
                yield f"inert in {Path(path).suffix}", f"{path}: {_first_difference(found, expected)}"


def _first_difference(found: list[str], expected: list[str]) -> str:
    surplus, lacking = (Counter(found) - Counter(expected)), (Counter(expected) - Counter(found))
    return f"has {list(surplus)[:4]}, lacks {list(lacking)[:4]}"


class _Elements(html.parser.HTMLParser):
    """Elements with the names of their attributes; the addresses that a click would open."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append(f"<{tag} {' '.join(sorted(key for key, _ in attrs))}>")
        opens = [value for key, value in attrs if key in ("href", "src") and value]
        self.found += [value.split(":")[0] for value in opens if ":" in value and value[0] not in "#."]

    def handle_endtag(self, tag: str) -> None:
        self.found.append(f"</{tag}>")

    def handle_comment(self, data: str) -> None:
        self.found.append("comment")


def _html(text: str) -> list[str]:
    parser = _Elements()
    parser.feed(text)
    control = ["control character"] if _CONTROL.search(text.replace("\r", "")) else []
    return sorted(parser.found + control)


def _csv(text: str) -> list[str]:
    rows = list(csv.reader(io.StringIO(text, newline="")))
    cells = [cell for row in rows for cell in row]
    formulas = [
        cell for cell in cells if cell[:1] in tuple("=+-@\t\r") and not re.fullmatch(r"[-+][\d.eE+-]+", cell)
    ]
    control = ["control character" for cell in cells if _CONTROL.search(cell)]
    return sorted([str(len(row)) for row in rows] + formulas + control)


def _latex(text: str) -> list[str]:
    """Commands, and the characters that structure a table, but for those that print special characters."""
    text = re.sub(r"\\(?=\\)\\", r"\\newrow ", text)
    commands = [each for each in re.findall(r"\\([A-Za-z]+|.)", text) if each not in _ESCAPED]
    bare = re.findall(r"(?<!\\)([&%#])", text)
    return sorted(commands + bare) + (["control character"] if _CONTROL.search(text) else [])


def _markdown(text: str) -> list[str]:
    """Lines by their beginnings and bars, and everything that is no plain text."""
    bar = re.compile(r"(?<!\\)\|")
    lines = [
        f"{line[:1] if line[:1] in '#|-*>' else ''}{len(bar.findall(line))}" for line in text.splitlines()
    ]
    active = re.findall(r"(?<!\\)(?:<[a-zA-Z/!]|\]\(|`|~~|<!--)", text)
    return sorted(lines + active) + (["control character"] if _CONTROL.search(text) else [])


JUDGES = {".html": _html, ".csv": _csv, ".tex": _latex, ".md": _markdown}
_ATTACKED = "--eps 16/255 --images 4 --threat undefended,oblivious --diagnose 0 --device cpu --out out"


def _by_name(place: Path, name: str, desk: Desk) -> Ended:
    return call(["evaluate", desk.run, *_ATTACKED.split(" "), "--attacks", "fgsm", f"--name={name}"], place)


def _by_classes(place: Path, name: str, desk: Desk) -> Ended:
    draw = np.random.default_rng(0)
    # the last zeros of a text are no part of it in NumPy
    classes = np.array([f"{name}{i}" for i in range(10)])
    for split in ("train", "test"):
        pixels = draw.integers(0, 256, (20, 32, 32, 3), dtype=np.uint8)
        np.savez(place / f"set-{split}.npz", x=pixels, y=np.arange(20) % 10, class_names=classes)
    overrides = ["data.source=npz:set", "data.train_limit=20", "data.test_limit=10"]
    sets = [part for each in overrides for part in ("--set", each)]
    ended = call(["run", desk.folder / "tiny.yaml", "--device", "cpu", "--out", "out", *sets], place)
    for path in place.glob("set-*.npz"):
        path.unlink()
    return ended


def _by_folder(place: Path, name: str, desk: Desk) -> Ended:
    shutil.copytree(desk.run, place / name)
    return call(["run", desk.folder / "tiny.yaml", "--device", "cpu", "--out", name], place)


def _by_models(place: Path, name: str, desk: Desk) -> Ended:
    models = ["--substitute", f"{name}={desk.run}/classifier.safetensors", "--target", f"{name}2={desk.run}"]
    line = "--attacks fgsm --eps 16/255 --images 4 --device cpu --out out --data digits"
    return call(["transfer", *models, *line.split(" ")], place)


def _by_cards(place: Path, name: str, desk: Desk) -> Ended:
    card = json.loads(next(desk.run.glob("card-*.json")).read_text())
    for number, key in enumerate(("name", "dataset", "architecture", "link", "authors", "footnote", "norm")):
        changed = {**card, key: name}
        if key == "name":
            changed |= {"warnings": [name], "attacks": {name: [name]}, "autoattack_threat": name}
            changed["autoattack_acc"], changed["verdict"] = (
                "10.00",
                {"level": "unreliable", "reasons": [name]},
            )
        path = place / "out" / f"{number}" / "card-x.json"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(changed))
    return call(["leaderboard", "out"], place)


def _by_module(place: Path, name: str, desk: Desk) -> Ended:
    text = "from torch import nn\ndef model(): return nn.Sequential(nn.Flatten(), nn.Linear(3072, 10))\n"
    (place / f"{name}.py").write_text(text)
    line = "--data digits --attacks fgsm --eps 16/255 --images 4 --diagnose 0 --device cpu --out out"
    return call(["evaluate", f"{name}:model", *line.split(" ")], place)


def _by_attack(place: Path, name: str, desk: Desk) -> Ended:
    text = f"""
from dataclasses import dataclass
import purespike
from purespike.attacks import Attack, attack, fgsm

@attack(title={name!r}, norms=("linf",))
@dataclass(frozen=True, kw_only=True)
class Own(Attack):
    name: str = "own"
    eps: float = 8 / 255
    seed: int = 0
    @property
    def passes(self):
        return 2
    def __call__(self, model, images, labels):
        return fgsm(model, images, labels, eps=self.eps)

def model():
    return purespike.load({str(desk.run)!r})
"""
    (place / "own.py").write_text(text)
    ended = call(
        ["evaluate", "own:model", "--data", "digits", *_ATTACKED.split(" "), "--attacks", "own"], place
    )
    (place / "own.py").unlink()
    return ended


WRITERS = {
    "--name": _by_name,
    "class names": _by_classes,
    "run folder": _by_folder,
    "substitute and target": _by_models,
    "cards": _by_cards,
    "module": _by_module,
    "attack": _by_attack,
}


def _a_file_name(name: str) -> bool:
    """Whether a folder can have this name, below the current one."""
    return not (set("/\x00") & set(name)) and len(name.encode()) < 240
