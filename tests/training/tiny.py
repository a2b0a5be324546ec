"""The smallest run that has every stage, done once per test process; and ways to start a command."""

import atexit
import functools
import io
import json
import shutil
import sys
import tempfile
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import torch
import yaml

from purespike.data import Data, ImageSet
from purespike.experiment import Run
from purespike.models.checkpoint import read_tensors
from purespike.recipe import Recipe, parse_recipe
from purespike.training import accelerator

RECIPE = {
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
        "learning_rate": 1e-3,
        "switch_epoch": 2,
        "crop_padding": 1,
    },
    "evaluation": {
        "attacks": [{"name": "gaussian_noise"}, {"name": "fgsm"}, {"name": "pgd", "steps": 2}],
        "eps": ["16/255"],
        "curve": None,
        "curve_eps": [],
        "surrogates": ["rectangle(width=1)", "atan(alpha=2)"],
        "batch_size": 8,
        # the examination takes ten times as long as these attacks; tests/evaluation has it
        "diagnose": 0,
    },
}


def recipe(**sections) -> Recipe:
    """The tiny recipe with some values of some sections replaced."""
    values = json.loads(json.dumps(RECIPE))
    for name, changes in sections.items():
        values[name] = {**values[name], **changes} if isinstance(changes, dict) else changes
    if "schedule" in values["classifier"]:
        del values["classifier"]["milestones"]
    return parse_recipe(values)


def write_recipe(path: Path, **sections) -> Path:
    path.write_text(yaml.safe_dump(recipe(**sections).model_dump(mode="json")))
    return path


@functools.cache
def finished() -> Path:
    """The folder of a run of the tiny recipe that nothing disturbed. Tests must not write to it."""
    folder = Path(tempfile.mkdtemp(prefix="purespike-tests-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    with redirect_stderr(io.StringIO()):
        Run(recipe(), folder, accelerator(device="cpu"))()
    return folder


def command(arguments: list[str]) -> None:
    """``purespike ARGUMENTS`` in a process of its own (a target for multiprocessing)."""
    from purespike.cli import main

    torch.set_num_threads(1)
    sys.argv = ["purespike", *arguments]
    with redirect_stderr(io.StringIO()), redirect_stdout(io.StringIO()):
        main()


def history(folder: Path) -> list[dict]:
    path = folder / "history.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    return [{k: v for k, v in row.items() if k not in ("seconds", "images_per_second")} for row in rows]


def outcomes(folder: Path) -> dict:
    """What an evaluation found, without when and how fast."""
    content = json.loads((folder / "evaluation.json").read_text())
    content.pop("provenance")
    for cell in content["cells"]:
        cell.pop("seconds")
    return content


def checkpoint(path: Path) -> tuple[dict[str, bytes], dict[str, str]]:
    """Tensors bit for bit, and metadata (whose order in the file is random)."""
    tensors, metadata = read_tensors(path)
    return {name: tensor.numpy().tobytes() for name, tensor in tensors.items()}, metadata


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def two_sides():
    """A bright side tells the class in spite of any small perturbation, but not always; a checkerboard of
    12/255, which an attack of 20/255 turns into its opposite, always."""

    def images(count, seed):
        draw = torch.Generator().manual_seed(seed)
        labels = torch.arange(count) % 2
        sign = (2.0 * labels - 1).view(-1, 1, 1, 1)
        side = torch.ones(1, 1, 8, 8)
        side[..., 4:] = -1
        checkers = (torch.arange(8)[:, None] + torch.arange(8)) % 2 * 2.0 - 1
        told = torch.rand((count, 1, 1, 1), generator=draw) < 0.93
        levels = 128 + 16 * torch.randn((count, 1, 8, 8), generator=draw)
        levels += sign * (45 * told * side + 12 * checkers)
        return ImageSet(levels.clamp(0, 255).round().to(torch.uint8), labels, ("left", "right"), "sides")

    return Data("sides", images(240, 0), images(100, 1))
