"""What TensorBoard reads of a run is its history and its evaluation, each number once, resumed or not."""

import shutil
import sys

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from purespike import InputError
from purespike.experiment import Run
from purespike.results import Evaluation, read_history
from purespike.training import accelerator
from purespike.training.tracking import Tracking
from training.tiny import finished, recipe, write_recipe


def scalars(folder):
    read = EventAccumulator(str(folder / "tracking"), size_guidance={"scalars": 0})
    read.Reload()
    return {tag: [(each.step, each.value) for each in read.Scalars(tag)] for tag in read.Tags()["scalars"]}


def expected(folder):
    """The numbers of ``history.jsonl``."""
    found = {}
    for row in read_history(folder / "history.jsonl"):
        values = {key: value for key, value in row.to_json().items() if key not in ("stage", "epoch")}
        rates = values.pop("firing_rates", {})
        values |= {f"firing_rates/{layer}": rate for layer, rate in rates.items()}
        for key, value in values.items():
            found.setdefault(f"{row.stage}/{key}", []).append((row.epoch, value))
    return found


def close(found, wanted):
    assert found.keys() == wanted.keys()
    for tag, points in wanted.items():
        assert [step for step, _ in found[tag]] == [step for step, _ in points], tag
        assert [value for _, value in found[tag]] == pytest.approx(
            [value for _, value in points], rel=1e-6
        ), tag


def test_a_finished_run_is_written_whole(tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(finished(), folder)
    for _ in range(2):
        # once more: nothing is there twice
        Run(recipe(), folder, accelerator(device="cpu"), track="tensorboard")()
        found = scalars(folder)
        history = {tag: points for tag, points in found.items() if not tag.startswith("evaluation/")}
        close(history, expected(folder))
    evaluation = Evaluation.read(folder / "evaluation.json")
    cell = evaluation.cell("pgd", "adaptive")
    assert found["evaluation/adaptive/linf-16_255/PGD-2"] == [(0, pytest.approx(cell.score.accuracy))]
    worst = evaluation.worst_score(16 / 255, "adaptive").accuracy
    assert found["evaluation/adaptive/linf-16_255/worst_case"] == [(0, pytest.approx(worst))]
    assert found["evaluation/clean/defended"][0][1] == pytest.approx(evaluation.clean.defended.accuracy)
    cells = [tag for tag in found if tag.startswith("evaluation/") and not tag.endswith("worst_case")]
    assert len(cells) == len(evaluation.cells) + 2


def test_training_is_followed_and_a_resumed_one_goes_on(tmp_path):
    tiny, folder = recipe(classifier={"epochs": 2}), tmp_path / "run"

    class Killed(Exception):
        pass

    class Dying(Tracking):
        def follow(self, rows):
            rows = list(rows)
            super().follow(rows)
            if rows and rows[-1]["epoch"] == 1:
                raise Killed

    run = Run(tiny, folder, accelerator(device="cpu"))
    run.tracking = Dying("tensorboard", folder, run.accelerator)
    run._follow = run.tracking.follow
    with pytest.raises(Killed), run:
        run.classifier(run.data())
    close(scalars(folder), expected(folder))
    assert scalars(folder)["classifier/loss"][-1][0] == 1
    with Run(tiny, folder, accelerator(device="cpu"), track="tensorboard") as run:
        run.classifier(run.data())
    close(scalars(folder), expected(folder))
    assert [step for step, _ in scalars(folder)["classifier/loss"]] == [1, 2]


def test_without_a_tracker_nothing_is_written():
    assert not (finished() / "tracking").exists()


def test_an_unknown_or_missing_tracker_is_told_before_anything_is_made(tmp_path, monkeypatch):
    with pytest.raises(InputError, match="unknown tracker 'tensorbord': did you mean 'tensorboard'"):
        Run(recipe(), tmp_path / "run", accelerator(device="cpu"), track="tensorbord")
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with pytest.raises(
        InputError, match=r"--track tensorboard needs tensorboard: pip install 'purespike\[track\]'"
    ):
        Run(recipe(), tmp_path / "run", accelerator(device="cpu"), track="tensorboard")
    assert not (tmp_path / "run").exists()


def test_the_command_line_takes_it(tmp_path, monkeypatch, capsys):
    from purespike import cli

    path = write_recipe(tmp_path / "tiny.yaml")
    command = ["purespike", "train", "classifier", str(path or tmp_path / "tiny.yaml"), "--track", "nothing"]
    monkeypatch.setattr(sys, "argv", [*command, "--out", str(tmp_path / "out"), "--device", "cpu"])
    with pytest.raises(SystemExit) as left:
        cli.main()
    assert left.value.code == 2 and "unknown tracker 'nothing'" in capsys.readouterr().err
