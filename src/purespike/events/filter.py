"""The background-activity filter: what event cameras do against noise without learning; the control."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from purespike.errors import InputError
from purespike.scalars import check_whole


class BackgroundActivityFilter(nn.Module):
    """Keeps an event only if another one supports it nearby, shortly before (Delbruck 2008).

    On frames ``[N, 2T, H, W]``: a count of frame t is kept if another pixel within ``radius`` has an event of
    either polarity in frame t or in the ``frames`` before it, or the pixel itself has one in those before;
    else it becomes 0. It stands before a classifier as a purifier does. Its derivative is exact but for the
    support, a step: 1 where a count is kept, also of 0, else 0.

    Args:
        radius: distance in pixels along rows and columns.
        frames: frames before an event's own that count as shortly before.

    Raises:
        InputError: a setting out of range.

    Example:
        >>> frames = torch.zeros(1, 2, 5, 5)
        >>> frames[0, 1, 0, 0] = frames[0, 0, 3, 3] = frames[0, 1, 4, 4] = 1
        >>> BackgroundActivityFilter()(frames).nonzero().tolist()
        [[0, 0, 3, 3], [0, 1, 4, 4]]
    """

    def __init__(self, *, radius: int = 1, frames: int = 1) -> None:
        super().__init__()
        self.radius = check_whole(radius, name="background_activity: radius", least=1)
        self.frames = check_whole(frames, name="background_activity: frames", least=0)
        self.config: dict[str, Any] = {
            "architecture": "background_activity",
            "radius": self.radius,
            "frames": self.frames,
        }

    def extra_repr(self) -> str:
        return f"radius={self.radius}, frames={self.frames}"

    def forward(self, images: Tensor) -> Tensor:
        if images.ndim != 4 or images.shape[1] % 2:
            raise InputError(
                "background_activity: takes event frames [N, 2T, H, W], two polarities for each frame, got "
                f"{list(images.shape)}"
            )
        # one frame after the other: [N, T, H, W]
        active = (images.detach().unflatten(1, (-1, 2)).amax(2) > 0).to(images)
        side = 2 * self.radius + 1
        window = torch.ones(1, 1, side, side, dtype=images.dtype, device=images.device)
        steps = active.flatten(0, 1)[:, None]
        around = (
            functional.conv2d(steps, window, padding=self.radius).squeeze(1).unflatten(0, active.shape[:2])
        )
        # nobody supports himself at the same time
        support = around - active
        for back in range(1, min(self.frames, active.shape[1] - 1) + 1):
            support = support + functional.pad(around, (0, 0, 0, 0, back, 0))[:, : active.shape[1]]
        return images * (support > 0.5).to(images).repeat_interleave(2, dim=1)
