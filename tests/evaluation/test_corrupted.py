"""Corrupted images beside clean ones: the same model, attacks and number of images."""

import sys

import numpy as np
import pytest
import torch

import purespike as ps
from evaluation.victims import CLASSES, defended, foreign, photographs, plain
from purespike import InputError, cli
from purespike.data import ImageSet
from purespike.reporting.artefacts import write_artefacts
from purespike.reporting.corrupted import accuracy_grid, beside_grid
from purespike.results import Evaluation

N = 24
SETTINGS = {
    "attacks": ["fgsm", "pgd:steps=2"],
    "eps": "8/255",
    "threat": "undefended,adaptive",
    "batch_size": 8,
}


def clean_set():
    images, labels = photographs(N, seed=5)
    return ImageSet((255 * images).round().byte(), labels, tuple("abcd"), "patterns/test")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two corruptions: one that does nothing, and one that darkens until nothing is left."""
    folder, data = tmp_path_factory.mktemp("patterns-c"), clean_set()
    pixels = data.images.permute(0, 2, 3, 1).numpy()
    np.save(folder / "fog.npy", np.concatenate([pixels] * 5))
    np.save(
        folder / "frost.npy", np.concatenate([pixels * (5 - s) // 5 for s in range(1, 6)]).astype(np.uint8)
    )
    np.save(folder / "labels.npy", np.tile(data.labels.numpy(), 5))
    return folder


@pytest.fixture(scope="module")
def evaluation(folder):
    return ps.evaluate(defended(foreign), clean_set(), images=12, diagnose=0, corrupted=folder, **SETTINGS)


def test_a_corruption_that_does_nothing_changes_nothing(evaluation):
    for severity in range(1, 6):
        (score,) = [
            each
            for each in evaluation.corrupted.accuracies
            if (each.corruption, each.severity) == ("fog", severity)
        ]
        assert score.undefended == evaluation.clean.undefended
        assert score.defended == evaluation.clean.defended


def test_accuracies_are_those_of_the_model_on_the_array(evaluation, folder):
    images = torch.from_numpy(np.load(folder / "frost.npy")).permute(0, 3, 1, 2).float() / 255
    labels = torch.from_numpy(np.load(folder / "labels.npy"))
    rows = clean_set().drawn(12, seed=0)
    for severity in range(1, 6):
        chosen = (severity - 1) * N + rows
        with torch.no_grad():
            right = (foreign()(images[chosen]).argmax(1) == labels[chosen]).float().mean().item()
        (score,) = [
            each
            for each in evaluation.corrupted.accuracies
            if (each.corruption, each.severity) == ("frost", severity)
        ]
        assert score.undefended.accuracy == pytest.approx(right)
    mean = evaluation.corrupted.accuracy("frost", defended=False)
    assert evaluation.corrupted.accuracy(defended=False) == pytest.approx(
        (mean + evaluation.corrupted.accuracy("fog", defended=False)) / 2
    )


def test_both_sides_meet_the_same_attacks(evaluation):
    corrupted = evaluation.corrupted
    assert corrupted.same_images and corrupted.data.n == 12
    assert [(c.attack, c.threat, c.eps, c.settings) for c in corrupted.cells] == [
        (c.attack, c.threat, c.eps, c.settings) for c in evaluation.cells
    ]
    pairs = corrupted.beside(evaluation)
    assert [pair.attack for pair in pairs][:2] == ["none", "none"] and len(pairs) == 2 + 4 + 2
    worst = pairs[-1]
    robust = np.logical_and.reduce([c.robust for c in corrupted.cells if c.threat == "adaptive"])
    assert (worst.threat, worst.corrupted.correct) == ("adaptive", int(robust.sum()))
    assert worst.clean.accuracy > worst.corrupted.accuracy, "half of the images are darkened"


def test_the_clean_side_is_the_evaluation_without_them(evaluation):
    alone = ps.evaluate(defended(foreign), clean_set(), images=12, diagnose=0, **SETTINGS)
    assert plain(alone) == {key: value for key, value in plain(evaluation).items() if key != "corrupted"}


def test_escalated_attacks_stand_on_no_side(evaluation):
    raised = evaluation.cells[-1].model_copy(update={"raised_from": 2})
    more = evaluation.model_copy(update={"cells": (*evaluation.cells[:-1], raised)})
    assert len(more.corrupted.beside(more)) == len(evaluation.corrupted.beside(evaluation)) - 2
    assert "some budgets were raised" in beside_grid(more).notes[-1]


def test_other_images_are_said_to_be_others(folder, tmp_path):
    data = clean_set()
    few = data.select(torch.arange(9))
    found = ps.evaluate(foreign(), few, attacks=["fgsm"], diagnose=0, corrupted=folder).corrupted
    assert not found.same_images and found.data.n == 9


def test_a_second_run_reads_back(folder, tmp_path):
    settings = {**SETTINGS, "attacks": ["fgsm"], "diagnose": 0, "images": 8}
    kinds = {"corrupted": folder, "folder": tmp_path / "kept", "save": tmp_path / "saved"}
    first = ps.evaluate(foreign(), clean_set(), **settings, **kinds)
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "kept").rglob("*") if path.is_file()}
    again = ps.evaluate(foreign(), clean_set(), **settings, **kinds)
    assert first.corrupted.accuracies == again.corrupted.accuracies
    for one, other in zip(first.corrupted.cells, again.corrupted.cells, strict=True):
        assert (one.outcomes, one.rounded) == (other.outcomes, other.rounded)
    assert kept == {
        path: path.stat().st_mtime_ns for path in (tmp_path / "kept").rglob("*") if path.is_file()
    }
    assert list((tmp_path / "saved" / "corrupted").rglob("*.png"))


def test_tables_and_page(evaluation, tmp_path):
    page = write_artefacts(evaluation, tmp_path, name="mine").read_text()
    assert "Under corruptions" in page and "frost" in page and "12 patterns-c" in page
    text = (tmp_path / "corrupted.md").read_text()
    assert "| none | without purifier |" in text and "| **worst case of these** (L∞, eps 8/255) |" in text
    assert "Of CIFAR-10-C's 19 corruptions brightness, contrast" in text
    rows = (tmp_path / "corrupted.csv").read_text().splitlines()
    assert len(rows) == 1 + 2 * 10 + 2 * 8
    assert len(accuracy_grid(evaluation.corrupted).groups) == 2
    assert Evaluation.read(tmp_path / "evaluation.json").corrupted == evaluation.corrupted
    write_artefacts(evaluation.model_copy(update={"corrupted": None}), tmp_path, name="mine")
    assert not (tmp_path / "corrupted.md").exists() and not (tmp_path / "corrupted.csv").exists()
    assert "Under corruptions" not in (tmp_path / "report.html").read_text()


def test_images_that_do_not_fit_are_found_before_the_attacks(tmp_path, monkeypatch):
    np.save(tmp_path / "fog.npy", np.zeros((20, 5, 5, 3), np.uint8))
    np.save(tmp_path / "labels.npy", np.tile(np.arange(4), 5))
    with pytest.raises(InputError, match=rf"corrupted images {tmp_path.name}: the model"):
        ps.evaluate(foreign(), clean_set(), attacks=["fgsm"], corrupted=tmp_path)
    np.save(tmp_path / "fog.npy", np.zeros((20, 12, 12, 3), np.uint8))
    np.save(tmp_path / "labels.npy", np.tile(np.arange(4) + CLASSES, 5))
    with pytest.raises(InputError, match=rf"corrupted images {tmp_path.name}: .*label"):
        ps.evaluate(foreign(), clean_set(), attacks=["fgsm"], corrupted=tmp_path)


def test_the_command_line(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.py").write_text(
        "import torch\nfrom torch import nn\n"
        "def model():\n    torch.manual_seed(0)\n    return nn.Sequential(nn.Flatten(), nn.Linear(768, 10))\n"
    )
    pixels = np.zeros((40, 16, 16, 3), np.uint8)
    np.save(tmp_path / "fog.npy", pixels)
    np.save(tmp_path / "labels.npy", np.tile(np.arange(8), 5))
    for split in ("train", "test"):
        np.savez(tmp_path / f"own-{split}.npz", x=pixels[:16], y=np.arange(16) % 8)
    command = (
        "purespike evaluate own:model --data npz:own --attacks fgsm --diagnose 0 --device cpu --images 8"
    )
    monkeypatch.setattr(sys, "argv", [*command.split(), "--corrupted", ".", "--out", "out"])
    with pytest.raises(SystemExit) as left:
        cli.main()
    assert not left.value.code
    assert "Corrupted" in capsys.readouterr().out and (tmp_path / "out" / "corrupted.md").is_file()
    monkeypatch.setattr(sys, "argv", [*command.split(), "--corrupted", "nowhere"])
    with pytest.raises(SystemExit) as left:
        cli.main()
    assert left.value.code == 2 and "nowhere: no such folder" in capsys.readouterr().err
