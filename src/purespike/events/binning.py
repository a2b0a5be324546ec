"""Events as frames of counts: ``[T, 2, H, W]``, folded into images ``[2T, H, W]`` in [0, 1]."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from purespike.errors import InputError
from purespike.events.formats import EVENT, Events, check_sensor
from purespike.scalars import check_whole

CAPS = (1, 3, 5, 15, 17, 51, 85, 255)
"""Largest counts: the divisors of 255, for which a count is a level of 8 bits, exactly."""


def check_cap(cap: int, *, name: str) -> int:
    """``cap`` unchanged if it may be the largest count of frames.

    Raises:
        InputError: no divisor of 255.
    """
    if cap not in CAPS:
        raise InputError(f"{name} must be a divisor of 255 ({', '.join(map(str, CAPS))}), got {cap}")
    return cap


MOST_STEPS = 2**20


@dataclass(frozen=True, kw_only=True)
class Binning:
    """How events become an image.

    Frame t of T counts the events of its share of the recording, by polarity (0 OFF, 1 ON) and pixel; a count
    beyond ``cap`` is ``cap``. Counts are divided by ``cap``, so an image lies in [0, 1], and an eps of
    1/``cap`` is one event. Channel 2t + p of the image is polarity p of frame t.

    Args:
        steps: T.
        height: H of the sensor in pixels.
        width: W of the sensor.
        cap: largest count, a divisor of 255; 1 for binary frames: was there an event or not.
        start: time in µs at which the first frame begins; ``None`` for that of the first event.
        duration: µs of all frames together, which have equal shares of it; ``None`` for up to the last event.
        pool: side of the squares of pixels that are counted together.

    Raises:
        InputError: a setting out of range.
    """

    steps: int
    height: int
    width: int
    cap: int = 1
    start: int | None = None
    duration: int | None = None
    pool: int = 1

    def __post_init__(self) -> None:
        for name in ("steps", "height", "width", "cap", "pool"):
            object.__setattr__(self, name, check_whole(getattr(self, name), name=f"binning: {name}", least=1))
        if self.steps >= MOST_STEPS:
            raise InputError(f"binning: steps: at most {MOST_STEPS - 1} frames, got {self.steps}")
        check_cap(self.cap, name="binning: cap")
        if self.start is not None:
            check_whole(self.start, name="binning: start (µs)", least=0)
        if self.duration is not None:
            check_whole(self.duration, name="binning: duration (µs)", least=1)
        if self.height % self.pool or self.width % self.pool:
            raise InputError(
                f"binning: squares of {self.pool} pixels do not cover a sensor of {self.height}×{self.width}"
            )

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of an image: 2T, H, W."""
        return 2 * self.steps, self.height // self.pool, self.width // self.pool

    def window(self, events: Events) -> tuple[int, int]:
        """First time of the first frame and end of the last one, in µs; 0 and T without events."""
        times = events["t"] if len(events) else np.array([0, self.steps - 1])
        start = int(times.min()) if self.start is None else self.start
        return start, start + self.duration if self.duration is not None else max(int(times.max()), start) + 1

    def frame_of(self, times: np.ndarray, window: tuple[int, int]) -> np.ndarray:
        """The frame 0 to T - 1 of each time; -1 before the window and T from its end on."""
        start, end = window
        frames = (times - start) * self.steps // (end - start)
        return np.where(times < start, -1, np.minimum(frames, self.steps))

    def places(self, events: Events, window: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        """Place of each event in the flat image, and which lie in the window; -1 outside."""
        _, height, width = self.shape
        frame = self.frame_of(events["t"], window)
        inside = (frame >= 0) & (frame < self.steps)
        channel = 2 * frame + events["p"]
        row, column = (events[field].astype(np.int64) // self.pool for field in ("y", "x"))
        return np.where(inside, (channel * height + row) * width + column, -1), inside

    def counts(self, events: Events, *, window: tuple[int, int] | None = None) -> np.ndarray:
        """Counts of events, int64 ``[2T, H, W]``, not capped.

        Args:
            events: events of a recording.
            window: times of the frames, by default those of :meth:`window`.

        Raises:
            InputError: an event outside the sensor.
        """
        check_sensor(events, height=self.height, width=self.width)
        places, inside = self.places(events, self.window(events) if window is None else window)
        counted = np.bincount(places[inside], minlength=int(np.prod(self.shape)))
        return counted.reshape(self.shape)

    def image(self, events: Events, *, window: tuple[int, int] | None = None) -> Tensor:
        """Frames of a recording as a uint8 image ``[2T, H, W]``: 255 · count / cap.

        Args and errors are those of :meth:`counts`.
        """
        counts = np.minimum(self.counts(events, window=window), self.cap)
        return torch.from_numpy((counts * (255 // self.cap)).astype(np.uint8))

    def events(self, image: Tensor) -> Events:
        """A recording with exactly the counts of an image: its events lie in the middle of their frames.

        Of a binning without ``start`` the first frame begins at 0, without ``duration`` each has 1 ms: count
        such a recording in that window.

        Args:
            image: uint8 ``[2T, H, W]``, levels that are whole counts.

        Raises:
            InputError: another shape, pooled pixels, or levels between two counts.
        """
        if self.pool != 1:
            raise InputError("binning: pooled pixels do not say which of them had the event")
        if tuple(image.shape) != self.shape or image.dtype != torch.uint8:
            raise InputError(
                f"image: expected uint8 {list(self.shape)}, got {image.dtype} {list(image.shape)}"
            )
        levels, step = image.numpy().astype(np.int64), 255 // self.cap
        if (levels % step).any():
            raise InputError(f"image: holds levels that are no whole number of events ({step} levels each)")
        channel, row, column = (np.repeat(place, (levels // step).flatten()) for place in _grid(self.shape))
        start, end = self.start or 0, (self.start or 0) + (self.duration or 1000 * self.steps)
        made = np.empty(len(channel), EVENT)
        made["x"], made["y"], made["p"] = column, row, channel % 2
        frame, whole = channel // 2, end - start
        # the first and the last whole µs of a frame, rounded up as frame_of rounds down
        first, last = -(-frame * whole // self.steps), -(-(frame + 1) * whole // self.steps) - 1
        if len(made) and (last < first).any():
            raise InputError(
                f"binning: {whole} µs for {self.steps} frames: some hold no whole µs; make it longer"
            )
        made["t"] = start + (first + last) // 2
        return np.sort(made, order="t", kind="stable")


def _grid(shape: tuple[int, int, int]) -> list[np.ndarray]:
    return [place.flatten() for place in np.indices(shape)]
