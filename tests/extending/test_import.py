"""Code from outside the package at the command line: ``--import`` makes its names known."""

import os
import subprocess
import sys

import pytest
import torch

from purespike.models import create, save
from purespike.results import Evaluation

OWN = """
from purespike.attacks import attack, create_attack
from purespike.cli.options import app

@attack(title="Last PGD", order=45)
def last_pgd(**settings):
    return create_attack("pgd", **{"keep": "last", "steps": 1, **settings})

@app.command()
def greet() -> None:
    "Say what was imported."
    import also_own

    print(also_own.GREETING)
"""


@pytest.fixture
def shell(tmp_path):
    (tmp_path / "own.py").write_text(OWN)
    (tmp_path / "also_own.py").write_text("GREETING = 'hello'")

    def call(*arguments):
        command = [sys.executable, "-m", "purespike", *arguments]
        environment = {**os.environ, "PURESPIKE_COMPILE": "0"}
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)

    return call


def test_an_attack_of_an_imported_module_is_evaluated(shell, tmp_path):
    torch.manual_seed(0)
    model = create("resnet20_snn", width=0.1, num_classes=10, time_steps=1)
    save(model, tmp_path / "model.safetensors")
    line = "evaluate model.safetensors --data digits --threat undefended --images 2 --diagnose 0 --out found"
    done = shell("--import", "own", *line.split(), "--attacks", "last_pgd")
    assert done.returncode == 0, done.stderr
    (cell,) = Evaluation.read(tmp_path / "found" / "evaluation.json").cells
    assert (cell.attack, cell.settings.to_json()["keep"]) == ("last_pgd", "last")
    assert "Last PGD-1" in done.stdout
    refused = shell(*line.split(), "--attacks", "last_pgd")
    assert refused.returncode == 2 and "unknown attack 'last_pgd'" in refused.stderr


def test_several_modules_are_imported_and_add_commands(shell):
    done = shell("--import", "own", "--import", "also_own", "greet")
    assert (done.stdout, done.returncode) == ("hello\n", 0), done.stderr
