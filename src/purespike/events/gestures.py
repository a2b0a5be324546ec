"""The DVS128 gestures: recordings of several gestures each, cut by a table of labels."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from purespike.errors import InputError
from purespike.events.formats import Events
from purespike.events.readers import read_aedat3
from purespike.reading import read_text

CLASS_NAMES = (
    *("hand_clapping", "right_hand_wave", "left_hand_wave", "right_arm_clockwise"),
    *("right_arm_counter_clockwise", "left_arm_clockwise", "left_arm_counter_clockwise"),
    *("arm_roll", "air_drums", "air_guitar", "other_gestures"),
)
"""Classes 1 to 11 of the table of labels."""


class Gesture(NamedTuple):
    """Class from 0, and the first and the last time in µs."""

    label: int
    start: int
    end: int


def read_gesture_labels(path: str | Path) -> list[Gesture]:
    """The gestures that ``NAME_labels.csv`` lists after a line of titles: class 1 to 11, start and end in µs.

    Raises:
        InputError: missing, or a line of another form; the message names it.
    """
    gestures = []
    lines = read_text(path).splitlines()
    for number, line in enumerate(lines[1:], 2):
        if not line.strip():
            continue
        try:
            label, start, end = (int(part) for part in line.split(","))
        except ValueError:
            raise InputError(f"{path}: line {number}: must be class,start,end in µs, got {line!r}") from None
        if not 1 <= label <= len(CLASS_NAMES) or not 0 <= start < end:
            raise InputError(
                f"{path}: line {number}: needs a class from 1 to {len(CLASS_NAMES)} and start < end, "
                f"got {line!r}"
            )
        gestures.append(Gesture(label - 1, start, end))
    if not gestures:
        raise InputError(f"{path}: lists no gestures")
    return gestures


def read_gestures(path: str | Path) -> list[tuple[Events, int]]:
    """The gestures of one recording ``NAME.aedat``, cut as ``NAME_labels.csv`` beside it says.

    Returns:
        Events and class from 0 of each gesture; times begin at 0.

    Raises:
        InputError: either file is missing or malformed, or a gesture holds no event.
    """
    path = Path(path)
    events = read_aedat3(path)
    found = []
    for label, start, end in read_gesture_labels(path.with_name(f"{path.stem}_labels.csv")):
        part = events[(events["t"] >= start) & (events["t"] <= end)]
        if not len(part):
            raise InputError(
                f"{path}: no event between {start} and {end} µs, where its labels have a gesture"
            )
        part["t"] -= np.int64(start)
        found.append((part, label))
    return found
