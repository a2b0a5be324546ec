"""Full disks, folders that nobody may write to, that two share, and that disappear: nothing is lost."""

import json
import random
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from torture.hooks import disk_full_at, folder_gone_at, small_files, state, without_privileges
from torture.process import Command, Ended, call
from torture.scenes import LINES, Desk, Scene, files, folder
from torture.work import Case, Outcome, Settings, leftovers, tail

TITLE = "Disks and folders that fail"
MOST = 200
"""Attempts after which a command must have come to its end."""
Faults = Iterator[tuple[str, str]]


def cases(settings: Settings) -> Iterator[Case]:
    """Every failure of a disk, under every command."""
    for name in LINES if settings.full else ("transfer",):
        yield Case(f"{name}/full at every write", f"{name}, full at every write", partial(_every_write, name))
    for name in LINES if settings.full else ("train classifier",):
        for number in range(3 if settings.full else 1):
            small = partial(_disturbed_once, name, "small files")
            yield Case(f"{name}/small files/{number}", "no file above some KB", small)
            gone = partial(_disturbed_once, name, "folder gone")
            yield Case(f"{name}/folder gone/{number}", "the folder disappears", gone)
        yield Case(f"{name}/read-only/0", "a folder that is read-only", partial(_read_only, name))
        for number in range(2 if settings.full else 1):
            yield Case(f"{name}/two at once/{number}", "two at once in a folder", partial(_two_at_once, name))
    if settings.full:
        yield Case("run/small disk/0", "a disk of 300 KB, then of 8 MB", _small_disk)


def _every_write(name: str, desk: Desk, draw: random.Random) -> Outcome:
    """Let the first write of every path fail, one after the other, until the command has nothing left.

    Of chunks of one piece of work some: :data:`torture.hooks.ALIKE`.
    """
    scene, outcome = desk.scene(name), Outcome(tried=0)
    with folder() as place, folder() as aside:
        note = aside / "note"
        for _ in range(MOST):
            before = note.read_text() if note.exists() else ""
            ended = call(scene.arguments, place, partial(disk_full_at, 0, place, note))
            if ended.code == 0:
                break
            outcome.tried += 1
            if not note.exists() or note.read_text() == before:
                outcome.faults.append(("it goes on", f"code {ended.code}: {tail(ended.err)}"))
                break
            failed = json.loads(note.read_text().splitlines()[-1])
            outcome.faults += _refused(ended, f"full at {failed['path']}", "No space left on device")
            if state(place) != failed["state"]:
                outcome.faults.append(("the previous state is intact", f"full at {failed['path']}"))
            if left := leftovers(place):
                outcome.faults.append(("no temporary file stays", f"full at {failed['path']}: {left}"))
        outcome.faults += _goes_on(scene, place)
    return outcome


def _disturbed_once(name: str, how: str, desk: Desk, draw: random.Random) -> Outcome:
    """A limit on the size of files, which the system itself imposes, or a folder that is removed."""
    scene, outcome = desk.scene(name), Outcome()
    with folder() as place:
        if how == "small files":
            size = draw.choice([4_000, 10_000, 30_000])
            ended = call(scene.arguments, place, partial(small_files, size))
            if ended.code != 0:
                outcome.faults += _refused(ended, f"files of at most {size} bytes", "File too large")
        else:
            number = draw.randint(1, 3 * len(files(scene.reference)))
            ended = call(scene.arguments, place, partial(folder_gone_at, number, place / "out"))
            if ended.code != 0:
                outcome.faults += _refused(ended, f"gone at event {number}", "")
        outcome.faults += _goes_on(scene, place)
    return outcome


def _read_only(name: str, desk: Desk, draw: random.Random) -> Outcome:
    """A folder without the permission to write, for root without its privileges too."""
    scene, outcome = desk.scene(name), Outcome()
    with folder() as place:
        place.chmod(0o555)
        outcome.faults += _refused(call(scene.arguments, place, without_privileges), "read-only", "denied")
        if files(place):
            outcome.faults.append(("nothing is written", str(files(place)[:3])))
        place.chmod(0o755)
        outcome.faults += _goes_on(scene, place)
    return outcome


def _two_at_once(name: str, desk: Desk, draw: random.Random) -> Outcome:
    """Two processes with one folder: both come to the same end, or one of them is told to wait."""
    scene, outcome = desk.scene(name), Outcome()
    with folder() as place:
        with Command(scene.arguments, place) as first:
            time.sleep(draw.uniform(0, 0.5 * scene.seconds))
            with Command(scene.arguments, place) as second:
                ends = [first.wait(), second.wait()]
        for ended in ends:
            if ended.code != 0:
                outcome.faults += _refused(ended, "two at once", "another process works in it")
        if all(ended.code for ended in ends):
            outcome.faults.append(("one of two goes on", tail(ends[0].err + ends[1].err)))
        outcome.faults += _goes_on(scene, place)
    return outcome


def _small_disk(desk: Desk, draw: random.Random) -> Outcome:
    """A disk in memory, all but 300 KB of it taken by somebody else, whom the second try finds gone."""
    scene, outcome = desk.scene("run"), Outcome()
    place = Path(tempfile.mkdtemp(prefix="purespike-torture-"))
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(place)], capture_output=True, text=True
    )
    if mounted.returncode != 0:
        place.rmdir()
        return Outcome(skipped=f"no disk can be mounted here ({tail(mounted.stderr)})")
    try:
        (place / "others").write_bytes(bytes(8 * 2**20 - 300_000))
        outcome.faults += _refused(call(scene.arguments, place), "a full disk", "No space left on device")
        (place / "others").unlink()
        outcome.faults += _goes_on(scene, place)
    finally:
        subprocess.run(["umount", str(place)], check=True)
        shutil.rmtree(place)
    return outcome


def _refused(ended: Ended, how: str, reason: str) -> Faults:
    """Faults of the end of a command that could not write."""
    if ended.code != 2 or len(ended.errors) != 1 or reason not in ended.errors[0] or "Traceback" in ended.err:
        yield "one line, exit code 2", f"{how}: code {ended.code}: {tail(ended.err)}"


def _goes_on(scene: Scene, place: Path) -> Faults:
    """Faults of the command once nothing stands in its way."""
    ended = call(scene.arguments, place)
    if ended.code != 0:
        yield "it goes on", f"code {ended.code}: {tail(ended.err)}"
    elif found := scene.differences(place):
        yield "it ends as if never disturbed", "; ".join(found[:5])
