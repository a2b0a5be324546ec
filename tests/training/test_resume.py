"""A run that is killed (SIGKILL, no chance to clean up) and started again ends as one that never was."""

import multiprocessing
import random
import resource
import shutil
import signal
import subprocess
import sys
import time

import pytest

from purespike.errors import InputError
from purespike.experiment import Run
from purespike.training import accelerator
from training.tiny import checkpoint, command, files, finished, history, outcomes, recipe, write_recipe

SHARDS, CELLS = "checkpoint/adversarial/*.safetensors", "checkpoint/evaluation/*.json"


def epoch(stage, number):
    return lambda folder: any(row["stage"] == stage and row["epoch"] >= number for row in history(folder))


def exists(pattern):
    return lambda folder: any(folder.glob(pattern))


# moments at which to kill, in the order in which a run passes them
MOMENTS = {
    "state before the first epoch": exists("checkpoint/classifier.safetensors"),
    "classifier, epoch 1": epoch("classifier", 1),
    "crafting": exists("classifier.safetensors"),
    "crafted": exists(SHARDS),
    "purifier, epoch 1": epoch("purifier", 1),
    "purifier trained": exists("purifier.safetensors"),
    "evaluation, first cell": exists(CELLS),
    "samples, no evaluation yet": exists("samples.npz"),
}


@pytest.fixture(scope="module")
def processes():
    """Fresh processes without the cost of importing PyTorch in each."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["purespike.cli", "purespike.experiment", "sklearn.datasets"])
    return context


def kill_when(process, due, deadline=120):
    """SIGKILL ``process`` as soon as ``due()``; whether it was still running then."""
    until = time.monotonic() + deadline
    while process.is_alive() and not due():
        assert time.monotonic() < until, "the moment never came"
        time.sleep(0.002)
    process.kill()
    process.join()
    return process.exitcode == -signal.SIGKILL


def assert_same_run(folder, reference):
    for name in ("classifier.safetensors", "purifier.safetensors"):
        (tensors, header), (expected, of_reference) = (
            checkpoint(place / name) for place in (folder, reference)
        )
        assert header == of_reference, name
        assert not {key for key in tensors.keys() | expected if tensors.get(key) != expected.get(key)}, name
    assert history(folder) == history(reference)
    assert outcomes(folder) == outcomes(reference)
    assert sorted(files(folder)) == sorted(files(reference)), "other files than an undisturbed run"


def sweep(folder):
    """Temporary files of a killed write stay, hidden; they are no part of the run."""
    for path in folder.rglob(".*.part"):
        path.unlink()


def test_a_run_killed_again_and_again_ends_as_one_never_killed(processes, tmp_path):
    folder, path = tmp_path / "run", write_recipe(tmp_path / "tiny.yaml")
    arguments = ["run", str(path), "--out", str(folder), "--device", "cpu"]
    kills = 0
    for due in MOMENTS.values():
        process = processes.Process(target=command, args=(arguments,))
        process.start()
        kills += kill_when(process, lambda due=due: due(folder))
    assert kills >= len(MOMENTS) - 1, "the kills came too late to test anything"
    process = processes.Process(target=command, args=(arguments,))
    process.start()
    process.join()
    assert process.exitcode == 0
    sweep(folder)
    assert_same_run(folder, finished())


@pytest.mark.slow
def test_a_run_killed_at_random_ends_as_one_never_killed(processes, tmp_path):
    draw = random.Random(0)
    folder, path = tmp_path / "run", write_recipe(tmp_path / "tiny.yaml")
    arguments = ["run", str(path), "--out", str(folder), "--device", "cpu"]
    kills, exitcode = 0, None
    for _ in range(6):
        process = processes.Process(target=command, args=(arguments,))
        process.start()
        process.join(draw.uniform(0.3, 2.0) if kills < 3 else None)
        process.kill()
        process.join()
        exitcode = process.exitcode
        if exitcode != -signal.SIGKILL:
            break
        kills += 1
    assert kills
    assert exitcode == 0
    sweep(folder)
    assert_same_run(folder, finished())


# everything that training can carry from one epoch to the next, or draw
EVERYTHING = {
    "epochs": 4,
    "smoothing": "ols",
    "adversarial": {"name": "trades", "steps": 2, "step_size": "4/255"},
}


def test_the_command_itself_killed_goes_on(tmp_path):
    folder, path = tmp_path / "run", write_recipe(tmp_path / "tiny.yaml", classifier=EVERYTHING)
    line = [sys.executable, "-m", "purespike", "train", "classifier", str(path), "--out", str(folder)]
    process = subprocess.Popen([*line, "--device", "cpu"], stderr=subprocess.DEVNULL)
    try:
        until = time.monotonic() + 120
        while process.poll() is None and not epoch("classifier", 1)(folder):
            assert time.monotonic() < until
            time.sleep(0.002)
    finally:
        process.kill()
    assert process.wait() == -signal.SIGKILL
    assert not (folder / "classifier.safetensors").exists()

    tiny = recipe(classifier=EVERYTHING)
    for place in (folder, tmp_path / "undisturbed"):
        run = Run(tiny, place, accelerator(device="cpu"))
        run.classifier(run.data())
    sweep(folder)
    name = "classifier.safetensors"
    assert checkpoint(folder / name) == checkpoint(tmp_path / "undisturbed" / name)
    assert history(folder) == history(tmp_path / "undisturbed")


@pytest.mark.parametrize(
    ("smoothing", "adversarial"),
    [
        ("none", {"name": "fgsm", "random_start": True}),
        pytest.param("ols", {"name": "pgd", "steps": 2}, marks=pytest.mark.slow),
        ("ols", EVERYTHING["adversarial"]),
    ],
    ids=["fgsm", "ols and pgd", "ols and trades"],
)
def test_training_stopped_in_every_epoch_ends_as_one_never_stopped(
    tmp_path, monkeypatch, smoothing, adversarial
):
    """Stopped in the second of three steps of each epoch, whose first step is then lost."""
    import purespike.training.classifier as training

    tiny = recipe(classifier={"epochs": 3, "smoothing": smoothing, "adversarial": adversarial})
    steps, augment = [], training.augment

    def stopped(images, augmentation):
        steps.append(len(images))
        if len(steps) == due:
            raise KeyboardInterrupt
        return augment(images, augmentation)

    folder = tmp_path / "run"
    for due in (2, 5, 5, None):
        steps.clear()
        with monkeypatch.context() as patch:
            patch.setattr(training, "augment", stopped)
            run = Run(tiny, folder, accelerator(device="cpu"))
            if due is None:
                run.classifier(run.data())
            else:
                with pytest.raises(KeyboardInterrupt):
                    run.classifier(run.data())
    assert len(steps) == 3, "all but the last epoch were kept"
    straight = Run(tiny, tmp_path / "straight", accelerator(device="cpu"))
    straight.classifier(straight.data())
    for name in ("classifier.safetensors", "checkpoint/classifier.safetensors"):
        (found, metadata), (expected, others) = (
            checkpoint(place / name) for place in (folder, tmp_path / "straight")
        )
        assert found == expected and metadata.get("epoch") == others.get("epoch")
    assert history(folder) == history(tmp_path / "straight")


@pytest.mark.slow
def test_the_command_itself_killed_at_every_moment(tmp_path):
    folder, path = tmp_path / "run", write_recipe(tmp_path / "tiny.yaml")
    line = [sys.executable, "-m", "purespike", "run", str(path), "--out", str(folder), "--device", "cpu"]
    for due in MOMENTS.values():
        process = subprocess.Popen(line, stderr=subprocess.DEVNULL)
        while process.poll() is None and not due(folder):
            time.sleep(0.002)
        process.kill()
        process.wait()
    subprocess.run(line, check=True, capture_output=True)
    sweep(folder)
    assert_same_run(folder, finished())


def test_a_finished_run_started_again_changes_nothing_and_trains_nothing(tmp_path, monkeypatch):
    import purespike.experiment as experiment

    # of the same name, which stands in its cards
    folder = tmp_path / finished().name
    shutil.copytree(finished(), folder)
    before = files(folder)

    def refuse(*arguments, **settings):
        raise AssertionError("computed again")

    for name in ("train_classifier", "train_purifier", "evaluate"):
        monkeypatch.setattr(experiment, name, refuse)
    evaluation, report = Run(recipe(), folder, accelerator(device="cpu"))()
    after = files(folder)
    assert sorted(after) == sorted(before)
    unchanged = [name for name in before if not name.startswith(("figures/", "report", "environment"))]
    assert {name: after[name] for name in unchanged} == {name: before[name] for name in unchanged}
    assert evaluation.content["cells"] and report.exists()


def test_a_disk_that_fills_up_leaves_the_last_checkpoint_and_a_rerun_goes_on(tmp_path, monkeypatch, capsys):
    """The system itself refuses to let files grow, so that the real error comes, whatever wrote the file."""
    import purespike.training.classifier as training
    from purespike import cli

    folder, path = tmp_path / "run", write_recipe(tmp_path / "tiny.yaml", classifier={"epochs": 3})
    former = resource.getrlimit(resource.RLIMIT_FSIZE)
    survivor = {}
    save = training.TrainingState.save

    def full_after_the_first_epoch(state, number, row):
        if number == 2:
            survivor.update(files(folder / "checkpoint"))
            resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, former[1]))
        save(state, number, row)

    arguments = ["purespike", "train", "classifier", str(path), "--out", str(folder), "--device", "cpu"]
    with monkeypatch.context() as patch:
        patch.setattr(training.TrainingState, "save", full_after_the_first_epoch)
        patch.setattr(sys, "argv", list(arguments))
        try:
            with pytest.raises(SystemExit) as stop:
                cli.main()
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, former)
    lines = capsys.readouterr().err.splitlines()
    errors = [line for line in lines if line.startswith("purespike: error:")]
    assert stop.value.code == 2
    assert len(errors) == 1 and "classifier.safetensors" in errors[0] and "File too large" in errors[0]
    assert "Traceback" not in "".join(lines)
    assert survivor["classifier.safetensors"] and files(folder / "checkpoint") == survivor

    seen = []
    with monkeypatch.context() as patch:
        patch.setattr(
            training.TrainingState,
            "save",
            lambda state, number, row: (seen.append(number), save(state, number, row)),
        )
        run = Run(recipe(classifier={"epochs": 3}), folder, accelerator(device="cpu"))
        run.classifier(run.data())
    assert seen == [2, 3]
    straight = Run(recipe(classifier={"epochs": 3}), tmp_path / "straight", accelerator(device="cpu"))
    straight.classifier(straight.data())
    name = "classifier.safetensors"
    assert checkpoint(folder / name) == checkpoint(tmp_path / "straight" / name)


def test_a_checkpoint_of_another_architecture_is_refused(tmp_path):
    wider = Run(recipe(classifier={"width": 0.08}), tmp_path / "b", accelerator(device="cpu"))
    target = tmp_path / "b" / "checkpoint" / "classifier.safetensors"
    data = wider.data()
    target.parent.mkdir()
    target.write_bytes((finished() / "checkpoint" / "classifier.safetensors").read_bytes())
    with pytest.raises(
        InputError, match=r"was made for something else \(differs in recipe\.(width|smoothing)\).*delete it"
    ):
        wider.classifier(data)


@pytest.mark.parametrize(("before", "after"), [("ols", "none"), ("none", "ols")])
def test_a_checkpoint_of_other_labels_is_refused(tmp_path, before, after):
    for smoothing in (before, after):
        tiny = recipe(classifier={"epochs": 1, "smoothing": smoothing})
        run = Run(tiny, tmp_path / smoothing, accelerator(device="cpu"))
        data = run.data()
        if smoothing == before:
            run.classifier(data)
    kept = (tmp_path / name / "checkpoint" / "classifier.safetensors" for name in (before, after))
    source, target = kept
    target.parent.mkdir()
    target.write_bytes(source.read_bytes())
    with pytest.raises(
        InputError, match=r"was made for something else \(differs in recipe\.(width|smoothing)\).*delete it"
    ):
        run.classifier(data)


@pytest.mark.parametrize("keep", [0, 7, 1000])
def test_a_truncated_checkpoint_is_refused(tmp_path, keep):
    run = Run(recipe(), tmp_path / "run", accelerator(device="cpu"))
    data = run.data()
    target = tmp_path / "run" / "checkpoint" / "classifier.safetensors"
    target.parent.mkdir()
    target.write_bytes((finished() / "checkpoint" / "classifier.safetensors").read_bytes()[:keep])
    with pytest.raises(InputError, match=r"classifier\.safetensors: truncated"):
        run.classifier(data)


def test_a_terminated_run_says_so_and_goes_on(tmp_path):
    folder, path = tmp_path / "run", write_recipe(tmp_path / "tiny.yaml")
    arguments = [sys.executable, "-m", "purespike", "run", str(path), "--out", str(folder), "--device", "cpu"]
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while not epoch("classifier", 1)(folder):
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 143
    assert (
        said.splitlines()[-1] == ("purespike: error: terminated; run the same command again to resume")
        and "Traceback" not in said
    )
    assert not list(folder.rglob("*.part"))
    with pytest.raises(SystemExit, match="0"):
        command(arguments[3:])
    assert_same_run(folder, finished())
