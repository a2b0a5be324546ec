"""A new coding from outside the package: one class, named in a recipe, trained, attacked and reported."""

import json
from dataclasses import dataclass

import torch
from training.tiny import recipe

from purespike.experiment import Run
from purespike.models.coding import Coding
from purespike.models.resolve import resolve
from purespike.training import accelerator


@dataclass(frozen=True)
class Sharpening(Coding):
    """Blurred at first, sharper at each step, beside the image's negative."""

    size: int = 3

    def channels(self, in_channels):
        return 2 * in_channels

    def encode(self, images, time_steps):
        blurred = torch.nn.functional.avg_pool2d(images, self.size, 1, self.size // 2)
        frames = [torch.lerp(blurred, images, t / time_steps) for t in range(time_steps)]
        return torch.cat([torch.cat((frame, 1 - frame), 1) for frame in frames])


def test_a_coding_from_outside(tmp_path, monkeypatch):
    monkeypatch.setenv("PURESPIKE_COMPILE", "0")
    small = {
        "data": {"train_limit": 40, "test_limit": 10},
        "evaluation": {"attacks": [{"name": "fgsm"}], "diagnose": 0, "threats": ["adaptive"]},
    }
    classifier = {"width": 1 / 16, "time_steps": 2, "epochs": 1, "coding": "sharpening(size=5)"}
    Run(recipe(**small, classifier=classifier, purifier={"epochs": 1}), tmp_path, accelerator(device="cpu"))()

    models = json.loads((tmp_path / "evaluation.json").read_text())["model"]
    assert models["classifier"]["coding"] == "sharpening(size=5)"
    assert "sharpening(size=5)" in (tmp_path / "report.html").read_text()
    assert resolve(str(tmp_path)).classifier.stem[0].in_channels == 6
