"""Two processes, started as a user would start them, find and leave what one does."""

import os
import socket
import subprocess
import sys

from purespike import evaluate
from purespike.models.resolve import resolve
from training.tiny import checkpoint, files, finished, history, outcomes, write_recipe


def launch(*arguments, processes):
    command = ["-m", "purespike", *map(str, arguments), "--device", "cpu"]
    if processes > 1:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        # --multi_gpu names its launcher of many processes, on CPUs too; with --cpu it starts only one
        settings = f"--multi_gpu --num_processes {processes} --num_machines 1 --main_process_port {port}"
        settings += " --mixed_precision no --dynamo_backend no"
        command = ["-m", "accelerate.commands.launch", *settings.split(), *command]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PURESPIKE_COMPILE": "0"}
    done = subprocess.run(
        [sys.executable, *command], env=environment, capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done


def test_two_processes_find_the_same_outcome_for_every_image(tmp_path):
    """13 images in chunks of 6 make three chunks: one process has two, the other one."""
    settings = ["--images", 13, "--batch-size", 6, "--attacks", "gaussian_noise,pgd:steps=2", "--seed", 4]
    launch("evaluate", finished(), "--data", "digits", *settings, "--out", tmp_path / "two", processes=2)
    alone = evaluate(
        resolve(str(finished())),
        "digits",
        attacks=["gaussian_noise", {"name": "pgd", "steps": 2}],
        threat="all",
        images=13,
        batch_size=6,
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
    # the names of kept cells depend on the weights, which two processes train a little differently
    cells = "checkpoint/evaluation/"
    assert {n for n in left if not n.startswith(cells)} == {n for n in right if not n.startswith(cells)}
    assert sum(n.startswith(cells) for n in left) == sum(n.startswith(cells) for n in right)
    rows, alone = history(tmp_path / "run"), history(finished())
    assert [(row["stage"], row["epoch"]) for row in rows] == [(row["stage"], row["epoch"]) for row in alone]
    weights, _ = checkpoint(tmp_path / "run" / "purifier.safetensors")
    assert weights.keys() == checkpoint(finished() / "purifier.safetensors")[0].keys()
