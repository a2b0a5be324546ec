"""Models so small that their gates can be reckoned by hand: images [N, 1, 2, 2], two classes.

The second class wins where the first two pixels add up to more than 1; clean images have 0.45 and 0.40 there,
so that they are of class 0, and the attacker needs 0.15 more.
"""

import torch
from torch import nn

CLEAN = (0.45, 0.40)


def images(count=6):
    draw = torch.Generator().manual_seed(3)
    made = 0.5 + 0.1 * torch.rand((count, 1, 2, 2), generator=draw)
    made[:, 0, 0, 0], made[:, 0, 0, 1] = CLEAN
    # no two scores are the same
    made[:, 0, 0, 1] += torch.linspace(-0.01, 0.01, count)
    return made, torch.zeros(count, dtype=torch.long)


class Sum(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(10.0))

    def forward(self, x):
        excess = self.scale * (x[:, 0, 0, 0] + x[:, 0, 0, 1] - 1)
        return torch.stack((torch.zeros_like(excess), excess), 1)


class Resetting(nn.Module):
    """Sets some of the first two pixels to given values."""

    def __init__(self, first=None, second=None):
        super().__init__()
        self.values = (first, second)

    def forward(self, x):
        columns = [
            x[:, :, 0, i] if value is None else torch.full_like(x[:, :, 0, i], value)
            for i, value in enumerate(self.values)
        ]
        return torch.stack((torch.stack(columns, 2), x[:, :, 1]), 2)
