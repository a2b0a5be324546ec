"""Whom a purifier was trained for, by the weights of the classifier in its file."""

import torch

from purespike import load
from purespike.models import create
from purespike.training.origin import made_for
from training.tiny import finished


def test_a_purifier_knows_its_classifier():
    own = load(finished() / "classifier.safetensors")
    other = create("resnet14_snn", width=1 / 16)
    for place in (finished(), finished() / "purifier.safetensors"):
        assert made_for(place, own) and not made_for(place, other)
    with torch.no_grad():
        next(own.parameters()).add_(1e-3)
    assert not made_for(finished(), own)


def test_a_file_that_does_not_say_passes(tmp_path):
    (tmp_path / "purifier.safetensors").write_bytes(b"nonsense")
    for place in (tmp_path, tmp_path / "none.safetensors", finished() / "classifier.safetensors"):
        assert made_for(place, create("resnet14_snn", width=1 / 16))
