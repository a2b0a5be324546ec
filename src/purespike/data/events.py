"""Image sets of event frames: the simulated digits, and folders of event files."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from purespike.data.digits import load_digits
from purespike.data.image_set import Data, ImageSet, ordered_classes
from purespike.errors import InputError, unknown
from purespike.events import Binning, Camera, read_events, read_gestures, saccades
from purespike.events.formats import Events
from purespike.events.gestures import CLASS_NAMES
from purespike.events.readers import READERS, SENSORS
from purespike.progress import bar
from purespike.reading import read_text
from purespike.scalars import parse_number

DIGITS_SIDE = 16
CAMERA = Camera()
PATH = saccades()
DIGITS = Binning(
    steps=3,
    height=DIGITS_SIDE + 2 * CAMERA.margin,
    width=DIGITS_SIDE + 2 * CAMERA.margin,
    start=0,
    duration=PATH.times[-1],
)
"""Frames of the digits: one of each of the three movements, binary."""
DIGITS_CAP = 5
"""Largest count of ``digits-events-counts``."""

TRIALS = "trials_to_{}.txt"
"""List of recordings of a split of the DVS128 gestures."""

FOLDER_HINT = (
    "an event folder holds train/CLASS/*.npy and test/CLASS/*.npy (or .bin, .aedat), or the DVS128 gestures "
    "with trials_to_train.txt"
)
Listed = list[tuple[Path, str | None]]
"""Event files with the names of their classes; ``None`` for a recording of several gestures."""

MOST_BYTES = 16 * 2**30
"""Largest size of the frames of a split."""

_SETTINGS = {"steps": 10, "cap": 1, "pool": 1, "sensor": 0, "duration": 0}


@dataclass(frozen=True, eq=False)
class Recordings:
    """Events with labels, before they are counted.

    Args:
        events: events of each recording.
        labels: int64 ``[N]``.
        class_names: K names.
        name: name of the split.
    """

    events: list[Events]
    labels: Tensor
    class_names: tuple[str, ...]
    name: str

    def __len__(self) -> int:
        return len(self.events)

    def binned(self, binning: Binning) -> ImageSet:
        """The recordings as frames.

        Raises:
            InputError: an event outside the sensor.
        """
        images = torch.stack([binning.image(events) for events in self.events])
        return ImageSet(images, self.labels, self.class_names, self.name)


def record_digits(source: str = "digits-events") -> tuple[Recordings, Recordings]:
    """The built-in digits before a moving simulated camera, train and test, the same on every machine.

    Args:
        source: name of the set.
    """
    data = load_digits(source, side=DIGITS_SIDE, channels=1)
    train, test = (
        Recordings(
            CAMERA(split.images[:, 0].numpy() / 255.0, PATH), split.labels, split.class_names, split.name
        )
        for split in (data.train, data.test)
    )
    return train, test


def load_digits_events(source: str, *, cap: int) -> Data:
    """1,437 train and 360 test recordings of digits as frames ``[6, 20, 20]``.

    Args:
        source: name of the set.
        cap: largest count.
    """
    train, test = (split.binned(replace(DIGITS, cap=cap)) for split in record_digits(source))
    return Data(source=source, train=train, test=test)


def load_event_folder(text: str) -> Data:
    """Read event files below a folder, one after the other, as frames.

    Args:
        text: ``PATH``, or ``PATH:steps=10:cap=1`` with settings: ``steps`` T, ``cap``, ``pool``, and in
            pixels and µs ``sensor`` (side of a square sensor, by default that of the format, or for ``.npy``
            the smallest that holds all training events) and ``duration`` (by default all of a recording). The
            folder holds ``train/CLASS/*.npy`` and ``test/CLASS/*.npy`` (``Train`` and ``Test`` as N-MNIST has
            them; ``.bin``, ``.aedat``), or the DVS128 gestures.

    Raises:
        InputError: a folder of another form, an unknown setting, or a malformed file.
    """
    place, settings = _settings(text)
    folder = Path(place).expanduser()
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; {FOLDER_HINT}")
    gestures = (folder / TRIALS.format("train")).exists()
    files = {split: (_trials if gestures else _files)(folder, split) for split in ("train", "test")}
    names = CLASS_NAMES if gestures else _classes(files)
    side = settings["sensor"] or _sensor(files["train"])
    binning = Binning(
        height=side,
        width=side,
        duration=settings["duration"] or None,
        **{key: settings[key] for key in ("steps", "cap", "pool")},
    )
    _check_size(text, binning, max(map(len, files.values())))
    sets = {}
    for split, listed in files.items():
        images, labels = [], []
        with bar(f"reading {folder.name}/{split}", len(listed), unit="files") as progress:
            for path, label in listed:
                for events, own in _recordings(path, label):
                    try:
                        images.append(binning.image(events))
                    except InputError as error:
                        side = max(128, 1 + max(int(events[field].max()) for field in ("x", "y")))
                        how = "name a larger one" if settings["sensor"] else "name it"
                        raise InputError(
                            f"{path}: {error}; {how}, e.g. events:{place}:sensor={side}"
                        ) from None
                    labels.append(own if isinstance(own, int) else names.index(own))
                progress.advance(1)
        sets[split] = ImageSet(torch.stack(images), torch.tensor(labels), names, f"{folder.name}/{split}")
    return Data(source=f"events:{text}", **sets)


def _check_size(text: str, binning: Binning, recordings: int) -> None:
    """See that the frames of the larger split fit in memory before hours of reading."""
    need = math.prod(binning.shape) * recordings
    if need > MOST_BYTES:
        frames = "×".join(map(str, binning.shape))
        raise InputError(
            f"events:{text}: {recordings} recordings as {frames} frames take {need / 2**30:.1f} GiB, more "
            f"than {MOST_BYTES / 2**30:.0f}; ask for fewer steps, or for pool=2"
        )


def _settings(text: str) -> tuple[str, dict[str, int]]:
    """The folder, and the settings after it."""
    parts, found = text.split(":"), dict(_SETTINGS)
    while len(parts) > 1 and "=" in parts[-1]:
        key, _, value = parts.pop().partition("=")
        if key not in found:
            raise unknown("setting of events", key, found)
        number = parse_number(value, name=f"events: {key}", example="10")
        if not math.isfinite(number) or number != int(number) or number < 1:
            raise InputError(f"events: {key} must be a whole number of at least 1, got {value}")
        found[key] = int(number)
    return ":".join(parts), found


def _recordings(path: Path, label: str | None) -> Iterator[tuple[Events, str | int]]:
    """The recordings of a file with their classes, by name or by number."""
    if label is None:
        yield from read_gestures(path)
    else:
        yield read_events(path), label


def _trials(folder: Path, split: str) -> Listed:
    listed = [
        folder / line.strip()
        for line in read_text(folder / TRIALS.format(split)).splitlines()
        if line.strip()
    ]
    if not listed:
        raise InputError(f"{folder / TRIALS.format(split)}: lists no recording")
    return [(path, None) for path in listed]


def _files(folder: Path, split: str) -> Listed:
    """Event files of a split with the names of their classes, in the order of their paths."""
    named = [entry for entry in sorted(folder.iterdir()) if entry.is_dir() and entry.name.lower() == split]
    if not named:
        raise InputError(f"{folder}: no folder {split}/; {FOLDER_HINT}")
    listed: Listed = [
        (path, entry.name)
        for entry in sorted(named[0].iterdir())
        if entry.is_dir() and not entry.name.startswith(".")
        for path in sorted(entry.iterdir())
        if path.suffix.lower() in READERS and not path.name.startswith(".")
    ]
    if not listed:
        raise InputError(f"{named[0]}: no event files ({', '.join(READERS)}) in folders of classes")
    return listed


def _classes(files: dict[str, Listed]) -> tuple[str, ...]:
    return ordered_classes(sorted({str(label) for listed in files.values() for _, label in listed}))


def _sensor(files: Listed) -> int:
    """Side of a square sensor: that of the format, or the smallest one that holds all training events."""
    suffixes = {path.suffix.lower() for path, _ in files}
    known = {SENSORS[suffix] for suffix in suffixes if suffix in SENSORS}
    if known:
        return max(known)
    largest = 0
    for path, _ in files:
        events = read_events(path)
        largest = max(largest, *(int(np.max(events[field], initial=0)) for field in ("x", "y")))
    return largest + 1
