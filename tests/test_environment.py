"""Where a result came from, without telling where anybody's files lie."""

import json
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
import torch

from purespike import environment
from purespike.environment import provenance, source_digest


@pytest.fixture(autouse=True)
def _fresh_commit():
    environment._commit.cache_clear()
    yield
    environment._commit.cache_clear()


def test_everything_it_takes_to_repeat_a_result_as_plain_json():
    found = provenance(seed=5)
    assert set(found) == {"command", "commit", "dirty", "seed", "date", "hardware", "versions"}
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert found["seed"] == 5
    assert found["versions"]["torch"] == version("torch")
    assert {"python", "purespike", "numpy"} <= found["versions"].keys()
    assert found["hardware"]["device"] == "cpu" and found["hardware"]["cores"] >= 1
    assert found["hardware"]["threads"] == torch.get_num_threads()
    assert found["date"].endswith("+00:00")


@pytest.mark.parametrize(
    ("program", "named"),
    [
        ("/home/me/bin/purespike", "purespike"),
        ("/a/purespike/__main__.py", "purespike"),
        ("/a/benchmarks/__main__.py", "python -m benchmarks"),
    ],
)
def test_the_command_can_be_pasted_and_names_no_folder_of_the_program(monkeypatch, program, named):
    monkeypatch.setattr(sys, "argv", [program, "run", "my recipe.yaml", "--seed", "3"])
    assert provenance(seed=3)["command"] == f"{named} run 'my recipe.yaml' --seed 3"


def test_a_commit_is_forty_digits_or_none():
    commit = provenance(seed=0)["commit"]
    assert commit is None or (len(commit) == 40 and int(commit, 16) >= 0)


def test_without_git_there_is_no_commit(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    found = provenance(seed=0)
    assert found["commit"] is None and found["dirty"] is False


def test_an_installed_copy_inside_a_strangers_repository_has_no_commit(monkeypatch, tmp_path):
    import subprocess

    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    monkeypatch.setattr(environment, "__file__", str(tmp_path / "environment.py"))
    Path(tmp_path / "environment.py").write_text("")
    assert provenance(seed=0)["commit"] is None


def test_the_digest_is_that_of_every_source_file(monkeypatch, tmp_path):
    (tmp_path / "room").mkdir()
    (tmp_path / "room" / "file.py").write_text("one = 1")
    monkeypatch.setattr(environment, "__file__", str(tmp_path / "environment.py"))

    def digest():
        source_digest.cache_clear()
        return source_digest()

    found = [digest()]
    (tmp_path / "room" / "file.py").write_text("one = 2")
    found.append(digest())
    (tmp_path / "room" / "other.py").write_text("")
    found.append(digest())
    (tmp_path / "notes.txt").write_text("no source")
    assert digest() == found[-1]
    source_digest.cache_clear()
    assert len({*found}) == 3 and all(len(each) == 64 for each in found)
