"""Two processes, started as a user would start them, find and leave what one does."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from reproduction.tiny import TINY

from purespike import evaluate
from purespike.data import load_data
from purespike.experiment import share_of
from purespike.models.checkpoint import read_tensors
from purespike.models.resolve import resolve
from training.reference import soft_labels_after_an_epoch
from training.tiny import checkpoint, files, finished, history, outcomes, recipe, write_recipe


def launch(*arguments, processes):
    return run("-m", "purespike", *arguments, "--device", "cpu", processes=processes)


def run(*line, processes, environment=None):
    command = list(map(str, line))
    if processes > 1:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        # --multi_gpu names its launcher of many processes, on CPUs too; with --cpu it starts only one
        settings = f"--multi_gpu --num_processes {processes} --num_machines 1 --main_process_port {port}"
        settings += " --mixed_precision no --dynamo_backend no"
        command = ["-m", "accelerate.commands.launch", *settings.split(), *command]
    environment = os.environ | (environment or {})
    done = subprocess.run(
        [sys.executable, *command], env=environment, capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done


@pytest.mark.slow
def test_copies_of_a_model_stay_equal_with_penalties_and_projections(tmp_path):
    """Random in each process of its own, the projection in all alike; each batch is one forward."""
    place = {
        "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    }
    run("-m", "training.two", tmp_path, processes=2, environment=place)
    one, two = (torch.load(tmp_path / f"process{rank}.pt") for rank in (0, 1))
    assert all(torch.equal(value, two[name]) for name, value in one.items())
    first, last = history(tmp_path)[1:]
    assert last["passes"] == 58 * (10 + 3 + 2), "two images of 60 cannot be shared: batches of 25, 25 and 10"
    assert 0 < last["input_gradient"] < 1e6 and last["random_logits"] != first["random_logits"]


@pytest.mark.slow
def test_copies_stay_equal_where_single_neurons_have_values_and_gates(tmp_path):
    """Both train the plain network first; the gates, frozen in the second half, keep a gradient of zero."""
    place = {
        "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    }
    run("-m", "training.two", tmp_path, "single", processes=2, environment=place)
    one, two = (torch.load(tmp_path / f"process{rank}.pt") for rank in (0, 1))
    # each has seen other images last, whose statistics the main process's replace in the next forward
    assert all(torch.equal(value, two[name]) for name, value in one.items() if "running" not in name)
    assert any(value.any() for name, value in one.items() if name.endswith("trace"))
    first, last = history(tmp_path)[1:]
    assert first["gate_prior"] > 0 == last["gate_prior"]


@pytest.mark.slow
def test_copies_of_a_purifier_stay_equal_through_the_whole_by_the_clock(tmp_path):
    """Each process attacks its own images; both go by the clock of one, and stop at the same batch."""
    place = {
        "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    }
    run("-m", "training.two", tmp_path, "purifier", processes=2, environment=place)
    one, two = (torch.load(tmp_path / f"process{rank}.pt") for rank in (0, 1))
    assert all(torch.equal(value, two[name]) for name, value in one.items())
    rows = history(tmp_path)
    assert [row["epoch"] for row in rows] == list(range(len(rows))) and "ce" in rows[-1]
    assert rows[-1]["learning_rate"] < 1e-4, "annealed at the end"


@pytest.mark.parametrize("diagnose", [0, pytest.param(13, marks=pytest.mark.slow)])
def test_two_processes_find_the_same_outcome_for_every_image(diagnose, tmp_path):
    """13 images in chunks of 6 make three chunks: one process has two, the other one."""
    settings = ["--images", 13, "--batch-size", 6, "--attacks", "gaussian_noise,pgd:steps=2", "--seed", 4]
    settings += ["--diagnose", diagnose]
    launch("evaluate", finished(), "--data", "digits", *settings, "--out", tmp_path / "two", processes=2)
    alone = evaluate(
        resolve(str(finished())),
        "digits",
        attacks=["gaussian_noise", {"name": "pgd", "steps": 2}],
        threat="all",
        images=13,
        batch_size=6,
        diagnose=diagnose,
        seed=4,
    )
    alone.save(tmp_path / "one" / "evaluation.json")
    one, two = outcomes(tmp_path / "one"), outcomes(tmp_path / "two")
    assert (one["settings"].pop("processes"), two["settings"].pop("processes")) == (1, 2)
    assert len(one["clean_outcomes"]["defended"]) == 13
    assert [cell["outcomes"] for cell in two["cells"]] == [cell["outcomes"] for cell in one["cells"]]
    assert two == one, "nor does anything else differ, but for times"


def test_two_processes_train_a_run_with_the_same_files(tmp_path):
    path = write_recipe(tmp_path / "tiny.yaml")
    printed = launch("run", path, "--out", tmp_path / "run", processes=2)
    assert printed.stdout.count("report: ") == 1, "only one process speaks"
    left, right = files(tmp_path / "run"), files(finished())
    # which cells are kept depends on the weights, which two processes train a little differently: their names
    # hold them, and the diagnostics raise one budget and not another
    cells, shards = "checkpoint/evaluation/", "checkpoint/adversarial/"
    kept = (cells, shards)
    assert {n for n in left if not n.startswith(kept)} == {n for n in right if not n.startswith(kept)}
    assert sum(n.startswith(shards) for n in left) == sum(n.startswith(shards) for n in right) == 1
    asked = [
        [
            (cell["attack"], cell["threat"], cell["eps"], len(cell["outcomes"]))
            for cell in outcomes(folder)["cells"]
            if cell["raised_from"] is None
        ]
        for folder in (tmp_path / "run", finished())
    ]
    assert asked[0] == asked[1] and any(n.startswith(cells) for n in left)
    rows, alone = history(tmp_path / "run"), history(finished())
    assert [(row["stage"], row["epoch"]) for row in rows] == [(row["stage"], row["epoch"]) for row in alone]
    weights, _ = checkpoint(tmp_path / "run" / "purifier.safetensors")
    assert weights.keys() == checkpoint(finished() / "purifier.safetensors")[0].keys()


@pytest.mark.slow
def test_two_processes_repeat_experiments_as_one_does(tmp_path):
    """Also where data cannot be had, and times of one are asked for."""
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(TINY))
    settings = ["reproduce", "fig4", "fig1", "--scale", tmp_path / "tiny.yaml"]
    printed = launch(*settings, "--out", tmp_path / "two", processes=2).stdout
    for name in ("fig4", "fig1"):
        assert printed.count(f"{name}: {tmp_path}/two/{name}") == 1, "only one process speaks"
    content = json.loads((tmp_path / "two" / "fig4" / "result.json").read_text())
    assert {row["origin"] for row in content["rows"]} == {"measured", "paper", "missing"}
    assert (tmp_path / "two" / "fig1" / "figure.png").exists()
    assert not (tmp_path / "two" / "checkpoint" / "timing").exists()


@pytest.mark.slow
def test_two_processes_smooth_labels_by_what_both_got_right(tmp_path):
    """Steps too small to move a weight, and an adversary who may not move an image: so the first epoch of
    TRADES can be computed again."""
    settings = {
        "epochs": 1,
        "learning_rate": 1e-12,
        "smoothing": "ols",
        "adversarial": {"name": "trades", "steps": 1, "eps": 0},
    }
    path = write_recipe(tmp_path / "tiny.yaml", classifier=settings)
    launch("train", "classifier", path, "--out", tmp_path / "run", processes=2)
    tensors, _ = read_tensors(tmp_path / "run" / "checkpoint" / "classifier.safetensors")
    tiny = recipe(classifier=settings)
    data = share_of(tiny, load_data("digits"))
    expected = soft_labels_after_an_epoch(tiny.classifier, data, seed=tiny.seed, world=2, copies=2)
    np.testing.assert_allclose(tensors["criterion/soft_labels"], expected, atol=1e-5)
    row = history(tmp_path / "run")[-1]
    assert row["passes"] == 58 * 4, "two images of 60 cannot be shared: batches of 25, 25 and 10"
