import errno
import json
import math
import os
import stat
import subprocess
import sys

import pytest

from purespike.files import remove_abandoned, replacing, write_json, write_text


def listing(folder):
    return sorted(path.name for path in folder.iterdir())


def test_writes_and_replaces(tmp_path):
    path = tmp_path / "deep" / "er" / "notes.txt"
    write_text(path, "first")
    write_text(str(path), "zweite Fassung: grün")
    assert path.read_bytes() == "zweite Fassung: grün".encode()
    assert listing(path.parent) == ["notes.txt"]


@pytest.mark.parametrize("failure", [ValueError, OSError, KeyboardInterrupt, SystemExit])
def test_an_exception_leaves_the_old_file(tmp_path, failure):
    path = tmp_path / "notes.txt"
    path.write_text("old")
    with pytest.raises(failure), replacing(path) as temporary:
        temporary.write_text("half of the ne")
        raise failure
    assert path.read_text() == "old"
    assert listing(tmp_path) == ["notes.txt"]


def test_a_failed_first_write_leaves_nothing(tmp_path):
    with pytest.raises(ValueError, match="here"), replacing(tmp_path / "notes.txt"):
        raise ValueError("here")
    assert listing(tmp_path) == []


@pytest.mark.parametrize("step", ["fsync", "replace", "chmod"])
def test_a_full_disk_leaves_the_old_file(tmp_path, monkeypatch, step):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    path = tmp_path / "notes.txt"
    path.write_text("old")
    with monkeypatch.context() as patch, pytest.raises(OSError, match="No space left"):
        patch.setattr(os, step, full)
        write_text(path, "new")
    assert path.read_text() == "old"
    assert listing(tmp_path) == ["notes.txt"]


def test_a_reader_sees_the_old_file_until_the_end(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("old")
    with replacing(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
        assert temporary.parent == path.parent
    assert path.read_text() == "new"


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)], ids=oct)
def test_permissions_follow_the_umask(tmp_path, umask, mode):
    path = tmp_path / "notes.txt"
    former = os.umask(umask)
    try:
        write_text(path, "text")
        assert os.umask(umask) == umask
    finally:
        os.umask(former)
    assert stat.S_IMODE(path.stat().st_mode) == mode


def test_json(tmp_path):
    path = tmp_path / "values.json"
    write_json(path, {"a": [1, 2.5, None], "b": "ü"})
    assert json.loads(path.read_text()) == {"a": [1, 2.5, None], "b": "ü"}
    with pytest.raises(ValueError, match="JSON"):
        write_json(path, {"a": math.nan})
    assert json.loads(path.read_text())["b"] == "ü"


def test_a_full_disk_is_named_with_the_file(tmp_path):
    path = tmp_path / "notes.txt"
    with pytest.raises(OSError, match=r"No space left on device: '.*notes\.txt'"), replacing(path):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_name_as_long_as_names_may_be(tmp_path):
    for name in ("x" * 255, "ü" * 127):
        write_text(tmp_path / name, "text")
        assert (tmp_path / name).read_text() == "text"


def test_temporary_files_of_the_dead_are_removed_and_those_of_the_living_are_not(tmp_path):
    program = [sys.executable, "-c", "import os; print(os.getpid())"]
    dead = subprocess.run(program, capture_output=True, text=True, check=True)
    write_text(tmp_path / "deep" / "notes.txt", "text")
    strangers = [".download.part", ".part"]
    for name in (f".notes.txt.{dead.stdout.strip()}.abc_1234.part", *strangers):
        (tmp_path / "deep" / name).write_text("half")
    with replacing(tmp_path / "deep" / "notes.txt") as temporary:
        living = subprocess.Popen(["sleep", "60"])
        other = tmp_path / f".a.{living.pid}.abcd1234.part"
        other.write_text("half")
        remove_abandoned(tmp_path)
        living.kill()
        living.wait()
        assert temporary.exists() and other.exists()
    remove_abandoned(tmp_path)
    assert listing(tmp_path / "deep") == [*strangers, "notes.txt"] and listing(tmp_path) == ["deep"]
