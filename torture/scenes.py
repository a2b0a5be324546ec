"""The smallest commands that do everything: their files, their lines, and their ends compared."""

import csv
import json
import re
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from purespike.tensors import read_tensors
from torture.process import call

RECIPE: dict[str, Any] = {
    "seed": 3,
    "data": {"source": "digits", "train_limit": 60, "test_limit": 20},
    "classifier": {
        "architecture": "resnet14_snn",
        "width": 0.05,
        "time_steps": 2,
        "epochs": 2,
        "batch_size": 25,
        "learning_rate": 0.05,
        "milestones": [1],
        "crop_padding": 1,
    },
    "purifier": {
        "width": 0.1,
        "time_steps": 2,
        "epochs": 2,
        "batch_size": 25,
        "learning_rate": 0.001,
        "switch_epoch": 2,
        "crop_padding": 1,
    },
    "evaluation": {
        "attacks": [{"name": "gaussian_noise"}, {"name": "fgsm"}],
        "eps": ["16/255"],
        "curve": None,
        "curve_eps": [],
        "surrogates": ["rectangle(width=1)"],
        "losses": ["ce"],
        "batch_size": 8,
        "diagnose": 0,
    },
}
_TRAINED = {
    "data": RECIPE["data"],
    "classifier": {**RECIPE["classifier"], "epochs": 1},
    "purifier": {**RECIPE["purifier"], "epochs": 1, "switch_epoch": 1},
}
SCALE: dict[str, Any] = {
    "about": "torture",
    "images": 4,
    "batch_size": 4,
    "surrogates": ["rectangle(width=1)"],
    "losses": ["ce"],
    "timed_images": 4,
    "repeats": 1,
    "shown": 2,
    "recipes": {"cifar10": _TRAINED},
    "variants": {},
    "ablations": {"default": {}, "half clean": {"purifier": {"clean_share": 0.5}}},
}
_ATTACKED = "--attacks fgsm --eps 16/255 --images 8 --batch-size 4 --seed 3 --device cpu --out out"
_FIGHT = "--threat all --surrogates rectangle(width=1) --losses ce --diagnose 2"
LINES = {
    "run": "run {desk}/tiny.yaml --device cpu --out out",
    "train classifier": "train classifier {desk}/tiny.yaml --device cpu --out out",
    "train purifier": (
        "train purifier {desk}/tiny.yaml --classifier {desk}/run/out/classifier.safetensors "
        "--device cpu --out out"
    ),
    "evaluate": f"evaluate {{desk}}/run/out {_ATTACKED} {_FIGHT}",
    "transfer": (
        "transfer --substitute a={desk}/run/out/classifier.safetensors --target b={desk}/run/out "
        f"{_ATTACKED}"
    ),
    "certify": (
        "certify {desk}/run/out --sigma 1 --n 300 --n0 20 --images 6 --seed 3 --device cpu --out out"
    ),
    "reproduce": "reproduce ablation --scale {desk}/scale.yaml --device cpu --out out",
}
"""The commands that compute."""


@dataclass(frozen=True)
class Scene:
    """A command, and the folder with its undisturbed end.

    Args:
        name: key of :data:`LINES`.
        arguments: the command line; results go to ``out`` in the current folder.
        reference: folder in which it ran undisturbed.
        seconds: duration of that.
    """

    name: str
    arguments: list[str]
    reference: Path
    seconds: float

    def differences(self, folder: Path) -> list[str]:
        """Files of ``folder`` that are not as if nothing had happened."""
        return differences(folder / "out", self.reference / "out")


class Desk:
    """A folder with a recipe, a scale and a finished run, and the commands that have been run on them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._scenes: dict[str, Scene] = {}
        self._lock = threading.Lock()
        (folder / "tiny.yaml").write_text(yaml.safe_dump(RECIPE))
        (folder / "scale.yaml").write_text(yaml.safe_dump(SCALE))
        self.scene("run")

    @property
    def run(self) -> Path:
        """The folder of a finished run. Nobody writes to it."""
        return self.folder / "run" / "out"

    def scene(self, name: str) -> Scene:
        """The command ``name``, which runs undisturbed when it is first asked for."""
        with self._lock:
            if name not in self._scenes:
                self._scenes[name] = self._undisturbed(name)
            return self._scenes[name]

    def once(self, name: str, make: Callable[["Desk", Path], None]) -> Path:
        """A folder of this name that ``make`` has filled, for all cases."""
        with self._lock:
            place = self.folder / name.replace(" ", "-")
            if not place.exists():
                place.mkdir()
                make(self, place)
            return place

    def _undisturbed(self, name: str) -> Scene:
        place = self.folder / name.replace(" ", "-")
        place.mkdir()
        arguments = LINES[name].format(desk=self.folder).split(" ")
        begun = time.monotonic()
        ended = call(arguments, place)
        if ended.code != 0:
            raise RuntimeError(f"{name}: does not even run undisturbed\n{ended.err}")
        return Scene(name, arguments, place, time.monotonic() - begun)


@contextmanager
def folder() -> Iterator[Path]:
    """An empty folder, which every user may enter, removed at the end."""
    place = Path(tempfile.mkdtemp(prefix="purespike-torture-"))
    place.chmod(0o755)
    try:
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)


def differences(one: Path, other: Path) -> list[str]:
    """Files that only one of two folders holds, or whose content differs beyond dates and seconds."""
    names = [{str(path.relative_to(root)) for path in files(root)} for root in (one, other)]
    lone = [
        f"{name}: only {'here' if name in names[0] else 'in the undisturbed run'}"
        for name in names[0] ^ names[1]
    ]
    return sorted(lone) + [
        f"{name}: differs"
        for name in sorted(names[0] & names[1])
        if content(one / name) != content(other / name)
    ]


def files(root: Path) -> list[Path]:
    """All files below ``root``, hidden ones included."""
    return [path for path in sorted(root.rglob("*")) if path.is_file()]


def content(path: Path) -> Any:
    """The content of a file without dates and seconds."""
    if path.suffix == ".safetensors":
        tensors, metadata = read_tensors(path)
        kept = {key: _timeless(_json(value)) for key, value in metadata.items()}
        return {
            name: (value.dtype, value.shape, value.numpy().tobytes()) for name, value in tensors.items()
        }, kept
    if path.suffix == ".npz":
        with np.load(path) as archive:
            return {key: (archive[key].dtype, archive[key].tobytes()) for key in archive.files}
    if path.suffix in (".json", ".jsonl"):
        text = path.read_text(encoding="utf-8")
        return [_timeless(_json(part)) for part in (text.splitlines() if path.suffix == ".jsonl" else [text])]
    if path.suffix == ".csv":
        with open(path, newline="", encoding="utf-8") as file:
            return [_timeless(row) for row in csv.DictReader(file)]
    if path.suffix == ".html":
        # numbers are those of evaluation.json; only the page also says when, how fast, and at which commit
        return re.sub(
            r"(\b[0-9a-f]{40}\b|, with uncommitted changes|[\d.,:T+-])+",
            "#",
            path.read_text(encoding="utf-8"),
        )
    return path.read_bytes()


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _timeless(value: Any) -> Any:
    if isinstance(value, dict):
        volatile = ("seconds", "date", "images_per_second", "commit", "dirty")
        return {key: _timeless(each) for key, each in value.items() if key not in volatile}
    return [_timeless(each) for each in value] if isinstance(value, list) else value
