"""A simulated event camera that looks at an image while it moves, after v2e (Hu et al. 2021), in short."""

import hashlib
import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from purespike.errors import InputError, kind_of
from purespike.events.formats import EVENT, Events
from purespike.scalars import check_number, check_whole
from purespike.seeding import derive

# logarithms differ by an ulp between CPUs; this grid makes the events the same on all of them
_GRID = 2.0**16


@dataclass(frozen=True)
class Path:
    """Positions of the image before the camera, and the times between which it moves evenly.

    Args:
        offsets: shift of the image in pixels down and right at each time, ``(row, column)``.
        times: whole µs, rising; one for each offset.

    Raises:
        InputError: fewer than two, another number of times, or times that do not rise.
    """

    offsets: tuple[tuple[float, float], ...]
    times: tuple[int, ...]

    def __post_init__(self) -> None:
        if len(self.offsets) < 2 or len(self.times) != len(self.offsets):
            raise InputError(
                f"path: needs a time for each of at least two offsets, got {len(self.offsets)} offsets and "
                f"{len(self.times)} times"
            )
        if not all(one < other for one, other in zip(self.times, self.times[1:], strict=False)):
            raise InputError("path: times must rise")


def saccades(
    *, amplitude: float = 4.0, duration: int = 105_000, steps: int = 12, corners: Sequence[int] = (0, 1, 2)
) -> Path:
    """Movements along the sides of a triangle, back to its first corner: the three of N-MNIST.

    Args:
        amplitude: height and base of the triangle in pixels.
        duration: µs of one movement.
        steps: positions in each movement.
        corners: order of the corners: left and up, right and up, down in the middle.

    Raises:
        InputError: a setting out of range, or a corner that there is not.
    """
    amplitude = check_number(amplitude, name="saccades: amplitude", positive=True)
    steps = check_whole(steps, name="saccades: steps", least=1)
    duration = check_whole(duration, name="saccades: duration", least=steps)
    if not corners or not set(corners) <= {0, 1, 2}:
        raise InputError(f"saccades: corners are 0, 1 and 2, got {list(corners)}")
    half = amplitude / 2
    triangle = [(-half, -half), (-half, half), (half, 0.0)]
    stops = [triangle[corner] for corner in (*corners, corners[0])]
    offsets, times = [stops[0]], [0]
    for number, (begin, end) in enumerate(itertools.pairwise(stops)):
        for step in range(1, steps + 1):
            share = step / steps
            offsets.append((begin[0] + share * (end[0] - begin[0]), begin[1] + share * (end[1] - begin[1])))
            times.append(number * duration + step * duration // steps)
    return Path(tuple(offsets), tuple(times))


@dataclass(frozen=True, kw_only=True)
class Camera:
    """Pixels that send an event whenever the logarithm of their intensity has changed by a threshold.

    A pixel remembers the log intensity of its last event. Each time it has risen by the ON threshold since,
    or fallen by the OFF threshold, the pixel sends an event, and the memory moves by the threshold; the time
    of the event is interpolated. Thresholds differ from pixel to pixel, and a Poisson process adds noise.

    Args:
        on: mean rise of the log intensity for an ON event.
        off: mean fall for an OFF event.
        mismatch: standard deviation of the thresholds between pixels; none is below 0.01.
        dark: intensity of black, as a share of white: log(value + dark) is seen.
        noise: noise events per pixel and second, ON and OFF alike.
        margin: black pixels around the image.
        seed: seed of the thresholds, which belong to the camera, and of the noise.

    Raises:
        InputError: a setting out of range.
    """

    on: float = 0.5
    off: float = 0.5
    mismatch: float = 0.03
    dark: float = 0.1
    noise: float = 1.0
    margin: int = 2
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("on", "off", "dark"):
            check_number(getattr(self, name), name=f"camera: {name}", positive=True)
        for name in ("mismatch", "noise"):
            check_number(getattr(self, name), name=f"camera: {name}")
        check_whole(self.margin, name="camera: margin", least=0)

    def __call__(self, images: np.ndarray, path: Path) -> list[Events]:
        """Record each of ``images`` while it moves along ``path``.

        Args:
            images: grey images ``[N, H, W]``, floats in [0, 1].
            path: positions and times.

        Returns:
            For each image its events, in order of time, on a sensor of H + 2·margin by W + 2·margin pixels.
            They depend on the image, the path and the camera alone, not on the other images.

        Raises:
            InputError: images of another form.

        Example:
            >>> still = Path(((0.0, 0.0), (0.0, 0.0)), (0, 1000))
            >>> [len(events) for events in Camera(noise=0)(np.ones((1, 4, 4)), still)]
            [0]
        """
        if not isinstance(images, np.ndarray) or images.ndim != 3 or images.dtype.kind != "f":
            raise InputError(f"camera: images must be floats [N, H, W], got {kind_of(images)}")
        if images.size and not (images.min() >= 0 and images.max() <= 1):
            raise InputError("camera: images must lie in [0, 1]")
        views = [self._view(images, offset) for offset in path.offsets]
        thresholds = self._thresholds(views[0].shape[1:])
        memory = views[0].copy()
        parts: list[tuple[np.ndarray, ...]] = []
        for before, after, begin, end in zip(views, views[1:], path.times, path.times[1:], strict=False):
            for polarity, threshold in zip((1, -1), thresholds, strict=True):
                # crossings between two views; where the intensity turns back there are none
                rise = polarity * (after - memory)
                crossed = np.floor(np.maximum(rise, 0) / threshold).astype(np.int64)
                for number in range(1, int(crossed.max(initial=0)) + 1):
                    image, row, column = np.nonzero(crossed >= number)
                    at = (image, row, column)
                    level = memory[at] + polarity * number * threshold[row, column]
                    share = (level - before[at]) / (after[at] - before[at])
                    time = begin + np.floor(share.clip(0, 1) * (end - begin - 1)).astype(np.int64)
                    parts.append((image, column, row, time, np.full(len(image), polarity > 0)))
                memory += polarity * crossed * threshold
        return self._recordings(images, parts, views[0].shape[1:], path)

    def _view(self, images: np.ndarray, offset: tuple[float, float]) -> np.ndarray:
        """Log intensity of the images, shifted with bilinear interpolation, ``[N, H', W']``."""
        whole = [int(np.floor(part)) for part in offset]
        share = [part - below for part, below in zip(offset, whole, strict=True)]
        far = self.margin + max(map(abs, whole)) + 2
        padded = np.pad(images.astype(np.float64), ((0, 0), (far, far), (far, far)))
        height, width = (size + 2 * self.margin for size in images.shape[1:])
        top, left = (far - self.margin - below for below in whole)

        def part(down: int, right: int) -> np.ndarray:
            return padded[:, top - down : top - down + height, left - right : left - right + width]

        rows = [(1 - share[1]) * part(down, 0) + share[1] * part(down, 1) for down in (0, 1)]
        seen = (1 - share[0]) * rows[0] + share[0] * rows[1]
        return np.rint(np.log(seen + self.dark) * _GRID) / _GRID

    def _thresholds(self, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
        draws = np.random.default_rng(derive(self.seed, "camera", "thresholds"))
        on, off = (
            np.rint(np.maximum(mean + self.mismatch * draws.standard_normal(shape), 0.01) * _GRID) / _GRID
            for mean in (self.on, self.off)
        )
        return on, off

    def _recordings(
        self, images: np.ndarray, parts: list[tuple[np.ndarray, ...]], shape: tuple[int, ...], path: Path
    ) -> list[Events]:
        begin, end = path.times[0], path.times[-1]
        seconds = (end - begin) / 1e6
        for index, image in enumerate(images) if self.noise else ():
            name = hashlib.sha256(np.ascontiguousarray(image, np.float64).tobytes()).hexdigest()
            draws = np.random.default_rng(derive(self.seed, "camera", "noise", name))
            count = int(draws.poisson(self.noise * seconds * shape[0] * shape[1]))
            row, column = (draws.integers(0, size, count) for size in shape)
            time, polarity = draws.integers(begin, end, count), draws.integers(0, 2, count) == 1
            parts.append((np.full(count, index), column, row, time, polarity))
        if not parts:
            return [np.empty(0, EVENT) for _ in images]
        image, column, row, time, polarity = (np.concatenate(each) for each in zip(*parts, strict=True))
        order = np.lexsort((polarity, column, row, time, image))
        events = np.empty(len(image), EVENT)
        events["x"], events["y"], events["t"], events["p"] = column, row, time, polarity
        events, owner = events[order], image[order]
        return [part.copy() for part in np.split(events, np.searchsorted(owner, np.arange(1, len(images))))]
