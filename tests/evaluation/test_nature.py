"""Random numbers are told from kept state, wherever they come from."""

import random

import numpy as np
import pytest
import torch
from torch import nn

import purespike as ps
from purespike.evaluation.inputs import nature

IMAGES = torch.rand(8, 1, 4, 4, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(8) % 3
WEIGHTS = torch.randn(16, 3, generator=torch.Generator().manual_seed(1))


class Noisy(nn.Module):
    """Poisson-like coding: pixels are kept or dropped by a draw from ``source``."""

    def __init__(self, source):
        super().__init__()
        self.generator = torch.Generator().manual_seed(3)
        self.numpy, self.python = np.random.default_rng(3), random.Random(3)
        self.source = source

    def draw(self, shape):
        if self.source == "torch":
            return torch.rand(shape)
        if self.source == "numpy":
            return torch.from_numpy(np.random.rand(*shape)).float()  # noqa: NPY002
        if self.source == "python":
            return torch.tensor([random.random() for _ in range(shape.numel())]).view(shape)
        if self.source == "own torch":
            return torch.rand(shape, generator=self.generator)
        if self.source == "own numpy":
            return torch.from_numpy(self.numpy.random(tuple(shape))).float()
        if self.source == "own python":
            return torch.tensor([self.python.random() for _ in range(shape.numel())]).view(shape)
        return torch.from_numpy(np.random.default_rng().random(tuple(shape))).float()

    def forward(self, images):
        frames = images * (self.draw(images.shape) < 0.7)
        return frames.flatten(1) @ WEIGHTS


class Keeps(nn.Module):
    """Keeps state in one of the places where networks do."""

    def __init__(self, place):
        super().__init__()
        self.register_buffer("mem", torch.zeros(()), persistent=False)
        self.v, self.memories, self.calls, self.place = torch.zeros(()), {"v": 0.0, "all": []}, 0, place

    def forward(self, images):
        logits = images.flatten(1) @ WEIGHTS
        charge = logits.mean()
        if self.place == "buffer":
            self.mem = 0.5 * self.mem + charge
            return logits + self.mem
        if self.place == "attribute":
            self.v = 0.5 * self.v + charge
            return logits + self.v
        if self.place == "in place":
            self.mem += charge
            return logits + self.mem
        if self.place == "dictionary":
            self.memories["v"] = self.memories["v"] + charge
            return logits + self.memories["v"]
        if self.place == "list":
            self.memories["all"].append(charge)
            return logits + sum(self.memories["all"])
        self.calls += 1
        return logits * self.calls


GLOBAL = ("torch", "numpy", "python")


@pytest.mark.parametrize("source", [*GLOBAL, "own torch", "own numpy", "own python", "fresh"])
def test_draws_are_stochastic(source):
    found = nature(Noisy(source), IMAGES, 1e-4)
    assert found.kind == "stochastic" and found.seeded is (source in GLOBAL) and found.apart > 0.1


@pytest.mark.parametrize("place", ["buffer", "attribute", "in place", "dictionary", "list", "number"])
def test_state_is_state(place):
    assert nature(Keeps(place), IMAGES, 1e-4).kind == "stateful"


def test_a_state_that_is_reset_beside_a_private_generator_is_stochastic():
    class Both(Noisy):
        def forward(self, images):
            logits = super().forward(images)
            self.v = logits.mean()
            return logits

    assert nature(Both("own numpy"), IMAGES, 1e-4).kind == "stochastic"


def test_a_function_of_the_image_is_deterministic():
    assert nature(nn.Flatten(), IMAGES, 1e-4) == ("deterministic", 0.0, True)


def test_an_evaluation_averages_and_advises():
    model = Noisy("own numpy")
    labels = (IMAGES.flatten(1) @ WEIGHTS).argmax(1)
    found = ps.evaluate(
        model, (IMAGES, labels), attacks=["fgsm"], eps="8/255", threat="undefended", diagnose=4
    )
    assert found.settings.eot == 20 and found.settings.passes == 10
    one = next(finding for finding in found.diagnostics if finding.name == "one image, one answer")
    assert "stochastic, by random numbers of its own" in one.message and "expectation" in one.advice
    assert "keeps state" not in str(found.verdict)


def test_numpys_draws_are_repeated():
    def robust(seed):
        model, pair = Noisy("numpy"), (IMAGES, LABELS)
        settings = {"attacks": ["fgsm"], "threat": "undefended", "diagnose": 0}
        return [cell.pass_accuracy for cell in ps.evaluate(model, pair, seed=seed, **settings).cells]

    np.random.seed(5)  # noqa: NPY002
    first = robust(0)
    np.random.seed(6)  # noqa: NPY002
    assert robust(0) == first
