"""Checkpoints truncated and flipped in every region, with other headers, other tensors, and of training."""

import json
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from purespike.tensors import read_tensors
from torture.inputs.made import Input, Oracle, flipped, truncated
from torture.scenes import Desk

INFO = "info model.safetensors --device cpu"
EVALUATE = "evaluate model.safetensors --data digits --images 2 --attacks fgsm --diagnose 0 --device cpu"
CONFIGS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "width 1e6": lambda config: {**config, "width": 1e6},
    "width inf": lambda config: {**config, "width": float("inf")},
    "width 100": lambda config: {**config, "width": 100},
    "width of text": lambda config: {**config, "width": "wide"},
    "classes": lambda config: {**config, "num_classes": 10**9},
    "time steps": lambda config: {**config, "time_steps": 10**9},
    "thresholds": lambda config: {**config, "thresholds": [0.1 * i for i in range(1, 100_000)]},
    "unknown setting": lambda config: {**config, "colour": "red"},
    "no architecture": lambda config: {k: v for k, v in config.items() if k != "architecture"},
    "unknown architecture": lambda config: {**config, "architecture": "resnet15_snn"},
    "architecture of a list": lambda config: {**config, "architecture": [1]},
    "other architecture": lambda config: {**config, "architecture": "senet18_snn"},
    "purifier": lambda config: {**config, "architecture": "purifier"},
    "half defended": lambda config: {"architecture": "defended", "purifier": config},
    "many defended": lambda config: _nested(config, 400),
    "a number": lambda config: 5,
    "a list": lambda config: [config],
    "null": lambda config: None,
}
METADATA = {
    "class_names": ['{"', "5", '"abc"', json.dumps(["a"] * 1000), "[1, 2]", "[" * 100_000, '["\\ud800"]'],
    "config": ['{"', "", "[" * 100_000, '{"architecture": NaN}'],
    "format": ["purespike/99", ""],
}
TENSORS: dict[str, Callable[[Tensor], Tensor]] = {
    "complex": lambda value: value.to(torch.complex64),
    "integers": lambda value: value.to(torch.int64),
    "NaN": lambda value: torch.full_like(value, torch.nan),
    "infinite": lambda value: torch.full_like(value, torch.inf),
    "empty": lambda value: value.flatten()[:0],
    "longer": lambda value: torch.cat([value, value]),
    "scalar": lambda value: value.flatten()[0],
}
STATES: dict[str, list[str]] = {
    "epoch": ["abc", "-1", "99", "1e9", ""],
    "history": ["5", "[]", "{", '[{"epoch": 1}]'],
    "optimiser": ["[]", "{", '{"items": 5}', "null"],
}


def generate() -> Iterator[Input]:
    """Every checkpoint, before ``info`` or ``evaluate``; those of training before it is resumed."""
    regions = {"length": (0, 8), "header": (8, None), "tensors": (None, None)}
    for region in regions:
        for number in range(8):
            line = (INFO, EVALUATE)[number % 2]
            yield Input(f"truncated {region}", "bad", partial(_damaged, truncated, region, line))
            oracle: Oracle = "bad" if region == "length" else "may pass"
            yield Input(f"flipped {region}", oracle, partial(_damaged, flipped, region, line))
    for name, change in CONFIGS.items():
        yield Input(f"config: {name}", "bad", partial(_config, change))
    for key, values in METADATA.items():
        for value in values:
            yield Input(f"metadata: {key}", "bad", partial(_metadata, key, value))
    for name, change_tensor in TENSORS.items():
        yield Input(f"tensors: {name}", "bad", partial(_tensors, change_tensor))
    for kind in ("appended", "removed", "added", "renamed", "pickle", "zip", "empty", "folder", "text"):
        yield Input(f"file: {kind}", "bad", partial(_file, kind))
    for region in regions:
        for damage in (truncated, flipped):
            oracle = "may pass" if damage is flipped and region != "length" else "bad"
            for _ in range(2):
                make = partial(_training, partial(_damage, damage, region))
                yield Input(f"training, {damage.__name__} {region}", oracle, make)
    for key, values in STATES.items():
        for value in values:
            yield Input(f"training, {key}", "bad", partial(_training, partial(_set, key, value)))


def _damage(damage: Any, region: str, path: Path, draw: Random) -> None:
    content = path.read_bytes()
    end = 8 + int.from_bytes(content[:8], "little")
    bounds = {"length": (0, 8), "header": (8, end), "tensors": (end, len(content))}[region]
    path.write_bytes(damage(content, draw, *bounds))


def _damaged(damage: Any, region: str, line: str, folder: Path, desk: Desk, draw: Random) -> list[str]:
    path = Path(shutil.copy(desk.run / "classifier.safetensors", folder / "model.safetensors"))
    _damage(damage, region, path, draw)
    return line.split(" ")


def _set(key: str, value: str, path: Path, _draw: Random) -> None:
    tensors, metadata = read_tensors(path)
    save_file(tensors, path, {**metadata, key: value})


def _config(change: Any, folder: Path, desk: Desk, _draw: Random) -> list[str]:
    _, metadata = read_tensors(desk.run / "classifier.safetensors")
    return _metadata("config", json.dumps(change(json.loads(metadata["config"]))), folder, desk, _draw)


def _metadata(key: str, value: str, folder: Path, desk: Desk, _draw: Random) -> list[str]:
    path = Path(shutil.copy(desk.run / "classifier.safetensors", folder / "model.safetensors"))
    _set(key, value, path, _draw)
    return INFO.split(" ")


def _tensors(change: Any, folder: Path, desk: Desk, draw: Random) -> list[str]:
    tensors, metadata = read_tensors(desk.run / "classifier.safetensors")
    name = draw.choice([name for name, value in tensors.items() if value.ndim > 1])
    save_file({**tensors, name: change(tensors[name])}, folder / "model.safetensors", metadata)
    return INFO.split(" ")


def _file(kind: str, folder: Path, desk: Desk, draw: Random) -> list[str]:
    path = folder / "model.safetensors"
    content = (desk.run / "classifier.safetensors").read_bytes()
    tensors, metadata = read_tensors(desk.run / "classifier.safetensors")
    if kind in ("removed", "renamed"):
        tensor = tensors.pop(draw.choice(list(tensors)))
        if kind == "renamed":
            tensors["<script>"] = tensor
    if kind == "added":
        tensors["../../x"] = torch.zeros(3)
    if kind in ("removed", "renamed", "added"):
        save_file(tensors, path, metadata)
    elif kind == "pickle":
        torch.save(tensors, path)
    elif kind == "folder":
        path.mkdir()
    else:
        texts = {
            "appended": content + b"x",
            "zip": b"PK\x03\x04" + content,
            "empty": b"",
            "text": b"Dear reader",
        }
        path.write_bytes(texts[kind])
    return INFO.split(" ")


def _training(damage: Callable[[Path, Random], None], folder: Path, desk: Desk, draw: Random) -> list[str]:
    shutil.copytree(desk.run, folder / "out")
    (folder / "out" / "classifier.safetensors").unlink()
    damage(folder / "out" / "checkpoint" / "classifier.safetensors", draw)
    return ["train", "classifier", str(desk.folder / "tiny.yaml"), "--out", "out", "--device", "cpu"]


def _nested(config: dict[str, Any], depth: int) -> dict[str, Any]:
    nested = config
    for _ in range(depth):
        nested = {"architecture": "defended", "purifier": nested, "classifier": config}
    return nested
