"""Event coding: step t sees frame t of an event camera's image."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from purespike.errors import InputError
from purespike.models.coding import Coding

POLARITIES = 2


@dataclass(frozen=True)
class Events(Coding):
    """Frames of events, one for each step: ``[N, 2T, H, W]`` becomes ``[T·N, 2, H, W]``.

    Channel 2t + p of an image is polarity p (0 OFF, 1 ON) of frame t
    (:class:`~purespike.events.Binning`). Nothing is repeated, and no event means no current: frames are
    divided by their root mean square, and not shifted.
    """

    folds: ClassVar[bool] = True

    def channels(self, in_channels: int) -> int:
        return POLARITIES

    def statistics(self, mean: Sequence[float], std: Sequence[float]) -> tuple[list[float], list[float]]:
        squares = [m * m + s * s for m, s in zip(mean, std, strict=True)]
        sizes = [math.sqrt(sum(squares[p::POLARITIES]) / max(len(squares[p::POLARITIES]), 1)) for p in (0, 1)]
        return [0.0] * POLARITIES, [max(size, 1e-3) for size in sizes]

    def encode(self, images: Tensor, time_steps: int) -> Tensor:
        self.check_steps(images.shape[1], time_steps)
        return images.unflatten(1, (time_steps, POLARITIES)).transpose(0, 1).flatten(0, 1)

    def check_steps(self, channels: int, time_steps: int) -> None:
        """Refuse images whose channels are not two for each step.

        Raises:
            InputError: they are not; the message says which number of steps would be right.
        """
        if channels != POLARITIES * time_steps:
            remedy = f"set time_steps: {channels // 2}" if channels % 2 == 0 else "take another coding"
            raise InputError(
                f"coding events: {time_steps} time steps take images of {POLARITIES * time_steps} channels, "
                f"two polarities for each, got {channels}; {remedy}"
            )

    def readout(self, outputs: Tensor, time_steps: int, last: Callable[[Tensor], Tensor]) -> Tensor:
        made = last(outputs).unflatten(0, (time_steps, -1))
        # [T, N, maps·2, H, W]: the maps of one kind stay together
        maps = made.unflatten(2, (-1, POLARITIES)).permute(1, 2, 0, 3, 4, 5)
        return maps.flatten(1, 3)
