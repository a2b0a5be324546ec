"""Models and images whose certificates are known, or can be attacked."""

import functools

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional

FEW = {"n": 200, "n0": 20}


def labelled(model, images):
    return images, model(images).argmax(1)


def rows(found, name=None):
    models = found.to_json()["models"]
    return models[name or next(iter(models))]["certificates"]


class Linear(nn.Module):
    """The sign of a linear function: classes 0 and 1, at a known L2 distance from their boundary."""

    def __init__(self, values: int) -> None:
        super().__init__()
        draw = torch.Generator().manual_seed(5)
        self.weight = nn.Parameter(torch.randn(values, generator=draw) / values**0.5, requires_grad=False)

    def signed(self, images):
        return (images.flatten(1) - 0.5) @ self.weight.to(images.dtype)

    def forward(self, images):
        margin = self.signed(images)
        return torch.stack((-margin, margin), 1)

    def distance(self, images):
        return (self.signed(images) / self.weight.norm()).abs()


class Constant(nn.Module):
    """Class 2 of 4, whatever it sees."""

    def forward(self, images):
        return functional.one_hot(torch.full((len(images),), 2), 4).float()


class Recording(Linear):
    """Keeps copies of all that it sees."""

    def __init__(self, values: int) -> None:
        super().__init__(values)
        self.seen: list[torch.Tensor] = []

    def forward(self, images):
        self.seen.append(images.clone())
        return super().forward(images)


class Drawing(nn.Module):
    """Stochastic: logits of the global generator."""

    def forward(self, images):
        return torch.randn(len(images), 3)


class Counting(nn.Module):
    """Keeps state between calls."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, images):
        self.calls += 1
        return images.flatten(1)[:, :3] * self.calls


class Coupled(nn.Module):
    """Subtracts the mean of the batch."""

    def forward(self, images):
        values = images.flatten(1)[:, :3]
        return values - values.mean(0)


def pictures(count, *, channels=1, size=8, seed=0):
    draw = torch.Generator().manual_seed(seed)
    return torch.rand((count, channels, size, size), generator=draw)


@functools.cache
def digits():
    """All scans as they are: images ``[1797, 1, 8, 8]`` in [0, 1], labels."""
    data = load_digits()
    return torch.tensor(data.images / 16, dtype=torch.float32)[:, None], torch.tensor(data.target)


@functools.cache
def noise_trained(sigma=0.25):
    """A small network trained on the first 1,200 scans under Gaussian noise."""
    images, labels = (part[:1200] for part in digits())
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 96), nn.ReLU(), nn.Linear(96, 10))
    optimiser = torch.optim.Adam(model.parameters(), lr=5e-3)
    for _ in range(300):
        rows = torch.randint(1200, (128,))
        noisy = images[rows] + sigma * torch.randn(128, 1, 8, 8)
        loss = functional.cross_entropy(model(noisy), labels[rows])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return model.eval()
