"""Commands killed, interrupted and terminated at random moments end as if nothing had happened."""

import random
import shutil
import signal
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from torture.hooks import killed_at
from torture.process import Command, Ended, call
from torture.scenes import LINES, Desk, Scene, files, folder
from torture.work import Case, Outcome, Settings, leftovers, tail

TITLE = "Processes killed at random moments, and started again"
KILLS = {"full": 6, "small": 2}
"""Kills of one round, by scale, after which the command may end undisturbed."""
ENDS = {signal.SIGKILL: -9, signal.SIGINT: 130, signal.SIGTERM: 143}
SAID = {
    signal.SIGINT: "purespike: error: interrupted; run the same command again to resume",
    signal.SIGTERM: "purespike: error: terminated; run the same command again to resume",
}


def cases(settings: Settings) -> Iterator[Case]:
    """Rounds of kills of every command, and of the two signals that ask it to end."""
    attempt = partial(_round, KILLS[settings.scale])
    for name in LINES if settings.full else ("train classifier",):
        for number in range(3 if settings.full else 1):
            yield Case(f"{name}/SIGKILL/{number}", f"{name}, SIGKILL", partial(attempt, name, signal.SIGKILL))
        for sign in SAID:
            yield Case(f"{name}/{sign.name}/0", f"{name}, {sign.name}", partial(attempt, name, sign))


def _round(kills: int, name: str, sign: signal.Signals, desk: Desk, draw: random.Random) -> Outcome:
    """Disturb a command again and again, let it end, and compare."""
    scene, outcome = desk.scene(name), Outcome(tried=0)
    with folder() as place:
        for number in range(3 * kills):
            moment, ended = _disturbed(scene, place, sign, draw, by_event=bool(number % 2))
            if ended.code == ENDS[sign] and ended.begun:
                outcome.tried += 1
                if sign != signal.SIGKILL:
                    outcome.faults += _unlike(ended, sign, place, moment)
                if outcome.tried == kills:
                    break
            elif ended.code == 0:
                # it came to its end before the moment
                outcome.faults += _other_end(scene, place)
                shutil.rmtree(place / "out")
            else:
                said = f"{moment}: code {ended.code}: {tail(ended.err)}"
                outcome.faults.append((f"{sign.name} ends a command", said))
        ended = call(scene.arguments, place)
        if ended.code == 0:
            outcome.faults += _other_end(scene, place)
        else:
            outcome.faults.append(("it goes on", f"code {ended.code}: {tail(ended.err)}"))
    return outcome


def _other_end(scene: Scene, place: Path) -> Iterator[tuple[str, str]]:
    if found := scene.differences(place):
        yield "it ends as if never disturbed", "; ".join(found[:5])


def _disturbed(
    scene: Scene, place: Path, sign: signal.Signals, draw: random.Random, *, by_event: bool
) -> tuple[str, Ended]:
    """The end of a command that is killed at one of its writes, or gets a signal at some moment."""
    if by_event and sign == signal.SIGKILL:
        # a write opens a file several times and renames it
        number = draw.randint(1, 3 * len(files(scene.reference)))
        return f"event {number}", call(scene.arguments, place, partial(killed_at, number, place))
    seconds = draw.uniform(0, 0.5 * scene.seconds)
    with Command(scene.arguments, place) as command:
        command.signal_after(seconds, sign)
        return f"after {seconds:.2f} s", command.wait()


def _unlike(ended: Ended, sign: signal.Signals, place: Path, moment: str) -> Iterator[tuple[str, str]]:
    """Faults of the end of a command that was asked to end."""
    if ended.errors != [SAID[sign]] or ended.err.splitlines()[-1] != SAID[sign]:
        yield f"{sign.name} is one line", f"{moment}: {tail(ended.err)}"
    if "Traceback" in ended.err or "ignored" in ended.err:
        yield "no traceback", f"{moment}: {tail(ended.err)}"
    if left := leftovers(place):
        yield "no temporary file stays", f"{moment}: {left}"
