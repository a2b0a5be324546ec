"""Results and cards with values of other types, missing or damaged: read by reports and leaderboards."""

import copy
import json
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

from torture.inputs.made import Input, flipped, truncated
from torture.scenes import Desk

VALUES: tuple[Any, ...] = (
    *(None, True, -1, 5, 10**40, 1e308, "", "text", "<script>", "\ud800", "1e999999999", [], [[]], {}),
    *([None] * 5, {"a": {"b": []}}, float("nan")),
)
TEXTS = {
    "empty": "",
    "a number": "5",
    "a list": "[]",
    "null": "null",
    "open": '{"schema": 1,',
    "deep": "[" * 100_000,
    "deep mapping": '{"a":' * 100_000,
    "digits": '{"schema": ' + "9" * 6000 + "}",
    "surrogate": '{"schema": 1, "name": "\\ud800"}',
    "binary": "\x00\x01",
    "twice": '{"schema": 1, "schema": 2}',
}
RUN = ("evaluation.json", "recipe.yaml", "history.jsonl")
"""Files of a finished run that are read when it is started again."""


def generate() -> Iterator[Input]:
    """Every file, before the command that reads it."""
    for _ in range(24):
        yield Input("card, other value", "may pass", partial(_card, _other))
        yield Input("evaluation, other value", "may pass", partial(_result, "evaluation.json", _other))
    for _ in range(8):
        yield Input("card, missing value", "may pass", partial(_card, _missing))
        yield Input("evaluation, missing value", "may pass", partial(_result, "evaluation.json", _missing))
    for name in TEXTS:
        yield Input(f"card, {name}", "bad", partial(_card_text, name))
        yield Input(f"evaluation, {name}", "bad", partial(_result_text, "evaluation.json", name))
    for damage in (truncated, flipped):
        for file in (*RUN, "samples.npz", "outcomes.npz"):
            for _ in range(2):
                yield Input(f"{damage.__name__} {file}", "may pass", partial(_damaged, file, damage))
    for name in ("empty", "a number", "open", "binary"):
        for file in ("recipe.yaml", "samples.npz"):
            yield Input(f"{file}, {name}", "may pass", partial(_result_text, file, name))
    for _ in range(8):
        yield Input("transfer, other chunk", "may pass", partial(_chunk, "transfer"))
        yield Input("evaluate, other chunk", "may pass", partial(_chunk, "evaluate"))


def _leaderboard(folder: Path, desk: Desk) -> Path:
    (folder / "cards").mkdir()
    return Path(shutil.copy(next(desk.run.glob("card-*.json")), folder / "cards"))


def _card(change: Any, folder: Path, desk: Desk, draw: Random) -> list[object]:
    path = _leaderboard(folder, desk)
    path.write_text(json.dumps(change(json.loads(path.read_text()), draw)))
    return ["leaderboard", "cards"]


def _card_text(name: str, folder: Path, desk: Desk, _draw: Random) -> list[object]:
    _leaderboard(folder, desk).write_text(TEXTS[name])
    return ["leaderboard", "cards"]


def _again(folder: Path, desk: Desk) -> tuple[Path, list[object]]:
    """A copy of the finished run, and the command that reads its results and writes its report."""
    return Path(shutil.copytree(desk.run, folder / "out")), [
        *("run", desk.folder / "tiny.yaml", "--device", "cpu", "--out", "out")
    ]


def _result(file: str, change: Any, folder: Path, desk: Desk, draw: Random) -> list[object]:
    out, line = _again(folder, desk)
    (out / file).write_text(json.dumps(change(json.loads((out / file).read_text()), draw)))
    return line


def _result_text(file: str, name: str, folder: Path, desk: Desk, _draw: Random) -> list[object]:
    out, line = _again(folder, desk)
    (out / file).write_text(TEXTS[name])
    return line


def _damaged(file: str, damage: Any, folder: Path, desk: Desk, draw: Random) -> list[object]:
    out, line = _again(folder, desk)
    (out / file).write_bytes(damage((out / file).read_bytes(), draw))
    return line


def _chunk(command: str, folder: Path, desk: Desk, draw: Random) -> list[object]:
    """A command whose finished chunks were changed."""
    scene = desk.scene(command)
    shutil.copytree(scene.reference / "out" / "checkpoint", folder / "out" / "checkpoint")
    for path in (folder / "out").rglob("*.json"):
        path.write_text(json.dumps(_other(json.loads(path.read_text()), draw)))
    return list(scene.arguments)


def _other(value: Any, draw: Random) -> Any:
    value, container, key = _place(value, draw)
    container[key] = copy.deepcopy(draw.choice(VALUES))
    return value


def _missing(value: Any, draw: Random) -> Any:
    value, container, key = _place(value, draw)
    del container[key]
    return value


def _place(value: Any, draw: Random) -> tuple[Any, Any, Any]:
    """A random place in a copy of a JSON value, shallow ones as often as deep ones."""
    value = copy.deepcopy(value)
    container = value
    while True:
        keys = list(container) if isinstance(container, dict) else list(range(len(container)))
        key = draw.choice(keys)
        inner = container[key]
        if not (isinstance(inner, dict | list) and inner) or draw.random() < 0.3:
            return value, container, key
        container = inner
