"""The line before a training: what, how much, about how long; and nothing else changes."""

import copy

import torch

from purespike.models import create
from purespike.progress import Bar
from purespike.training.estimate import WORTH, say_estimate, seconds_per_image
from training.tiny import recipe


class Heard(Bar):
    def __init__(self):
        super().__init__("", 1, "images")
        self.lines = []

    def say(self, line):
        self.lines.append(line)


def test_a_long_training_says_how_long_and_a_short_one_how_much():
    model, sample = create("resnet14_snn", width=0.05, time_steps=1), torch.rand(4, 3, 8, 8)
    before, drawn = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    heard, part = Heard(), recipe().classifier
    for count in (60, WORTH):
        say_estimate(heard, "classifier: tiny", model, sample, part, count)
    assert heard.lines[0] == "classifier: tiny, 2 epochs of 60 images"
    assert heard.lines[1].startswith("classifier: tiny, 2 epochs of 20,000 images, about ")
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), drawn) and model.readout.weight.grad is None


def test_the_time_of_an_image_is_positive():
    assert seconds_per_image(torch.nn.Conv2d(3, 4, 3), torch.rand(2, 3, 8, 8)) > 0
