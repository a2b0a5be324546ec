"""Recipes: values of other types and ranges, unknown keys, damaged text, and YAML that grows."""

import copy
import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import yaml

from torture.hooks import stop_before_training
from torture.inputs.made import Input, Make, Oracle, flipped, truncated
from torture.scenes import RECIPE, Desk

NAN, INFINITE = float("nan"), float("inf")
_CLASSIFIER, _PURIFIER = ("width", "time_steps", "epochs", "batch_size", "learning_rate"), ("switch_epoch",)
NUMBERS = [
    ("seed",),
    *(("data", key) for key in ("train_limit", "test_limit")),
    *(("classifier", key) for key in (*_CLASSIFIER, "crop_padding", "decay", "momentum", "weight_decay")),
    *(("purifier", key) for key in (*_CLASSIFIER, *_PURIFIER, "beta", "gamma", "clean_share")),
    *(("evaluation", key) for key in ("batch_size", "diagnose", "images")),
]
NAMES = [
    *(("data", key) for key in ("source", "role")),
    *(("classifier", key) for key in ("architecture", "surrogate", "smoothing", "coding", "reset")),
    *(("purifier", key) for key in ("surrogate", "noise_level", "objective", "attack")),
    *(("evaluation", key) for key in ("surrogates", "losses", "threats", "attacks", "eps", "norm", "suite")),
]
NO_NUMBERS: tuple[Any, ...] = (NAN, INFINITE, -1, "many", {"a": 1}, [[1]], -(10**40), "1e999999999", True)
NO_NAMES: tuple[Any, ...] = (
    True,
    {"a": {"b": 1}},
    [[["x"]]],
    "no such name",
    -7,
    "\x00",
    "x" * 100_000,
    ["rectangle", {}],
)

# keys that are refused, or with which a training of a second or two ends well or in a line
TRAINED: list[tuple[str, dict[str, Any]]] = [
    ("classifier", {"learning_rate": 1e30}),
    ("classifier", {"learning_rate": 1e300}),
    ("classifier", {"batch_size": 1, "epochs": 1}),
    ("classifier", {"width": 1e-9}),
    ("classifier", {"time_steps": 1, "thresholds": []}),
    ("classifier", {"thresholds": [1e-30, 1e30]}),
    ("classifier", {"milestones": [5, 6, 7]}),
    ("classifier", {"crop_padding": 31}),
    ("classifier", {"crop_padding": 1024}),
    ("classifier", {"decay": 1.0, "surrogate": "atan(alpha=1e30)"}),
    ("classifier", {"weight_decay": 1e30}),
    ("classifier", {"surrogate": "gaussian(std=1e-30)"}),
    ("classifier", {"coding": "poisson"}),
    ("purifier", {"learning_rate": 1e30}),
    ("purifier", {"variation_weight": 1e300}),
    ("purifier", {"asymmetric_weight": 1e300}),
    ("purifier", {"width": 1e-9, "epochs": 1, "switch_epoch": 1}),
    ("purifier", {"attack": {"name": "pgd", "eps": 1, "steps": 1}}),
    ("data", {"train_limit": 1}),
    ("data", {"train_limit": 10, "test_limit": 1}),
]
TEXTS: dict[str, tuple[Oracle, str | bytes]] = {
    "empty": ("may pass", ""),
    "a comment": ("may pass", "# nothing\n"),
    "null": ("may pass", "classifier: null\n"),
    "merged": ("may pass", "classifier: &a {epochs: 2}\npurifier: {<<: *a}\n"),
    "a list": ("bad", "- 1\n"),
    "a word": ("bad", "recipe\n"),
    "unclosed": ("bad", "classifier: {epochs: [\n"),
    "tabs": ("bad", "classifier:\n\tepochs: 2\n"),
    "twice": ("bad", "seed: 1\nseed: 2\n"),
    "twice below": ("bad", "classifier: {epochs: 2, epochs: 3}\n"),
    "two documents": ("bad", "seed: 1\n---\nseed: 2\n"),
    "number for a key": ("bad", "1: 2\n"),
    "list for a key": ("bad", "? [a, b]\n: 2\n"),
    "no date": ("bad", "seed: 2020-99-99\n"),
    "no integer": ("bad", "seed: !!int abc\n"),
    "an object": ("bad", "seed: !!python/object/apply:os.system ['true']\n"),
    "digits": ("bad", f"seed: {'9' * 6000}\n"),
    "many digits": ("bad", f"seed: {'9' * 500_000}\n"),
    "exponent": ("bad", "evaluation: {eps: ['1e999999999']}\n"),
    "deep lists": ("bad", f"seed: {'[' * 5000}{']' * 5000}\n"),
    "deep mappings": ("bad", "{a: " * 5000 + "1" + "}" * 5000),
    "itself": ("bad", "classifier: &a {epochs: *a}\n"),
    "aliases": (
        "bad",
        "a0: &a0 [x, x]\n" + "".join(f"a{i}: &a{i} [{f'*a{i - 1}, ' * 9}x]\n" for i in range(1, 12)),
    ),
    "aliases for a name": (
        "bad",
        "data:\n  source:\n"
        + "".join(f"    - &a{i} [{', '.join([f'*a{i - 1}'] * 9) if i else 'x'}]\n" for i in range(10)),
    ),
    "large": ("bad", "seed: 1 #" + "x" * 2_000_000),
    "zeros": ("bad", b"seed: 1\n\x00\x00"),
    "UTF-16": ("bad", "seed: 1\n".encode("utf-16")),
    "Latin-1": ("bad", "data: {source: é}\n".encode("latin-1")),
}


def generate() -> Iterator[Input]:
    """Every recipe; each ends where its training would begin, or trains for a second."""
    for place in NUMBERS:
        for value in NO_NUMBERS[:: 1 if place[-1] in ("seed", "width") else 3]:
            yield _accepted(f"number {'.'.join(place)}", "bad", partial(_value, place, value))
        yield _accepted(f"large {'.'.join(place)}", "may pass", partial(_value, place, 10**9))
    for number, place in enumerate(NAMES):
        for value in (NO_NAMES[number % len(NO_NAMES)], NO_NAMES[(number + 3) % len(NO_NAMES)]):
            yield _accepted(f"name {'.'.join(place)}", "bad", partial(_value, place, value))
    for name, (oracle, text) in TEXTS.items():
        yield _accepted(name, oracle, partial(_text, text))
    for _ in range(8):
        yield _accepted("unknown key", "bad", _unknown)
        yield _accepted("truncated", "may pass", partial(_damaged, truncated))
        yield _accepted("flipped", "may pass", partial(_damaged, flipped))
    for kind in ("missing", "folder", "pipe", "device", "loop"):
        yield Input(f"file: {kind}", "bad", partial(_file, kind))
    for section, values in TRAINED:
        yield Input(
            f"trained with {section}.{next(iter(values))}", "may pass", partial(_trained, section, values)
        )


def _accepted(name: str, oracle: Oracle, make: Make) -> Input:
    return Input(name, oracle, make, (stop_before_training,))


def _line(name: str = "recipe.yaml") -> list[str]:
    return ["train", "classifier", name, "--out", "out", "--device", "cpu"]


def _write(folder: Path, values: Any) -> list[str]:
    (folder / "recipe.yaml").write_text(yaml.safe_dump(values))
    return _line()


def _value(place: tuple[str, ...], value: Any, folder: Path, _desk: Desk, _draw: Random) -> list[str]:
    values = copy.deepcopy(RECIPE)
    target = values
    for key in place[:-1]:
        target = target[key]
    target[place[-1]] = value
    return _write(folder, values)


def _unknown(folder: Path, _desk: Desk, draw: Random) -> list[str]:
    values = copy.deepcopy(RECIPE)
    target = values[draw.choice(["data", "classifier", "purifier", "evaluation"])]
    key = draw.choice(list(target))
    misspelt = draw.choice([key[:-1], key + "s", key.upper(), f"{key}\n", f"<b>{key}</b>", "", "x" * 10_000])
    target[misspelt] = target.pop(key)
    return _write(folder, values)


def _text(text: str | bytes, folder: Path, _desk: Desk, _draw: Random) -> list[str]:
    (folder / "recipe.yaml").write_bytes(text.encode() if isinstance(text, str) else text)
    return _line()


def _damaged(damage: Any, folder: Path, _desk: Desk, draw: Random) -> list[str]:
    (folder / "recipe.yaml").write_bytes(damage(yaml.safe_dump(RECIPE).encode(), draw))
    return _line()


def _file(kind: str, folder: Path, _desk: Desk, _draw: Random) -> list[str]:
    path = folder / "recipe.yaml"
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "loop":
        path.symlink_to(path)
    return _line("/dev/zero" if kind == "device" else path.name)


def _trained(section: str, values: dict[str, Any], folder: Path, desk: Desk, _draw: Random) -> list[str]:
    recipe = copy.deepcopy(RECIPE)
    recipe[section] |= values
    line = _write(folder, recipe)
    if section != "purifier":
        return line
    return ["train", "purifier", *line[2:], "--classifier", str(desk.run / "classifier.safetensors")]
