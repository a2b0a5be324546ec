"""Memory that does not grow with the number of images or runs: peaks at N and at a tenth of N."""

import json
import random
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from torture.process import Ended, call
from torture.scenes import Desk, folder
from torture.work import Case, Outcome, Settings, tail

TITLE = "Peak of the resident memory, beyond an idle process"
Make = Callable[[Path, int, Desk], Ended]


def cases(settings: Settings) -> Iterator[Case]:
    """Each command on N things and on a tenth of them, and the MiB by which the peaks may differ."""
    for what, full, small, bound, make in (
        ("purify, {} and {} images", 5_000, 100, 16, _purify),
        # the images and their outcomes are kept: 16 KB an image
        ("evaluate, {} and {} images", 10_000, 200, 141, _evaluate),
        ("leaderboard, {} and {} runs", 300, 30, 16, _leaderboard),
    ):
        number = full if settings.full else small
        row = what.format(f"{number // 10:,}", f"{number:,}")
        yield Case(f"{make.__name__[1:]}", row, partial(_compared, make, number, bound))


def _compared(make: Make, count: int, bound: float, desk: Desk, draw: random.Random) -> Outcome:
    """Fault of a command whose peaks differ by more than ``bound`` MiB."""
    outcome, peaks = Outcome(), []
    for number in (count // 10, count):
        with folder() as place:
            ended = make(place, number, desk)
        if ended.code != 0:
            outcome.faults.append(("it works", f"{number}: code {ended.code}: {tail(ended.err)}"))
        peaks.append(ended.growth)
    difference = peaks[1] - peaks[0]
    outcome.figures = {
        "MiB at the tenth": peaks[0],
        "MiB at all": peaks[1],
        "MiB difference": difference,
        "MiB allowed": bound,
    }
    if difference > bound:
        outcome.faults.append(
            ("memory is flat", f"{peaks[0]:.0f} MiB at {count // 10}, {peaks[1]:.0f} at {count}")
        )
    return outcome


def _purify(place: Path, count: int, desk: Desk) -> Ended:
    (place / "in").mkdir()
    draw = np.random.default_rng(0)
    for number in range(count):
        pixels = draw.integers(0, 256, (32, 32, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(place / "in" / f"{number:05}.png")
    return call(["purify", "--model", desk.run, "--device", "cpu", "in", "out"], place, limited=False)


def _evaluate(place: Path, count: int, desk: Desk) -> Ended:
    draw = np.random.default_rng(0)
    for split, images in (("train", 10), ("test", count)):
        pixels = draw.integers(0, 256, (images, 32, 32, 3), dtype=np.uint8)
        np.savez(place / f"set-{split}.npz", x=pixels, y=np.arange(images) % 10)
    line = "--data npz:set --attacks fgsm --threat undefended --eps 8/255 --diagnose 0 --device cpu --out out"
    return call(["evaluate", desk.run, *line.split(" ")], place, limited=False)


def _leaderboard(place: Path, count: int, desk: Desk) -> Ended:
    card = json.loads(next(desk.run.glob("card-*.json")).read_text())
    for number in range(count):
        path = place / "runs" / f"{number}" / "card-linf-16_255.json"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps({**card, "name": f"run {number}"}))
    return call(["leaderboard", "runs"], place, limited=False)
