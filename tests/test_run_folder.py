"""Owners of folders: one process at a time, and nothing of anybody else is replaced."""

import subprocess
import sys

import pytest

from purespike import InputError, cli
from purespike.run_folder import check_output, in_use

HOLD = """
import sys
from pathlib import Path
from purespike.run_folder import in_use
with in_use(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.readline()
"""


def test_a_folder_is_one_processs_until_it_ends_or_dies(tmp_path):
    folder = tmp_path / "run"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", HOLD, str(folder)], **pipes) as holder:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(InputError, match="run: another process works in it"), in_use(folder):
            pass
        with in_use(folder, by=False):
            pass
        holder.kill()
    with in_use(folder):
        pass
    assert not list(folder.iterdir()), "a lock leaves nothing behind"


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("report.html", "my thesis", r"report\.html: belongs to no evaluation"),
        ("evaluation.json", '{"grade": 1}', r"evaluation\.json: .*would be replaced"),
        ("recipe.yaml", "", "is a run folder"),
    ],
)
def test_a_strangers_files_are_not_replaced(tmp_path, name, content, says):
    (tmp_path / name).write_text(content)
    with pytest.raises(InputError, match=says):
        check_output(tmp_path)
    assert (tmp_path / name).read_text() == content


def test_other_folders_may_take_an_evaluation(tmp_path):
    (tmp_path / "letter.txt").write_text("dear")
    check_output(tmp_path)
    check_output(tmp_path / "new")
    with pytest.raises(InputError, match="is a file"):
        check_output(tmp_path / "letter.txt")


def test_who_takes_a_folder_sweeps_it(tmp_path):
    # one more than the largest process number of Linux
    (tmp_path / ".a.txt.4194305.x1y2z3ab.part").write_text("half")
    with in_use(tmp_path):
        assert not list(tmp_path.iterdir())


COMMANDS = (
    "evaluate zoo:digits16 --attacks fgsm",
    "transfer --substitute zoo:digits16 --target zoo:digits16-paper --attacks fgsm",
    "certify zoo:digits16",
    "reject zoo:digits16-paper --score noise_max",
    "leaderboard .",
    "reproduce fig4 --scale cpu",
)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.split()[0])
def test_a_file_is_no_folder_of_results(command, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.txt").write_text("mine", encoding="utf-8")
    monkeypatch.setattr(sys, "argv", ["purespike", *command.split(), "--out", "mine.txt"])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    said = capsys.readouterr()
    assert stop.value.code == 2
    assert said.err.strip() == "purespike: error: mine.txt: is a file; --out is a folder"
    assert (tmp_path / "mine.txt").read_text(encoding="utf-8") == "mine"
