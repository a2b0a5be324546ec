"""A diagnostics rule from outside the package: one function, seen in findings, verdict and report."""

import json
from collections.abc import Iterator

import pytest
import torch
from torch import nn

import purespike as ps
from purespike.evaluation.diagnostics import RULES, Examination, rule
from purespike.reporting.page import write_report
from purespike.results import Finding


@pytest.fixture(autouse=True)
def brightness():
    @rule(needs="images")
    def check_brightness(e: Examination) -> Iterator[Finding]:
        """Are images so dark that the budget covers their content?"""
        dark = int((e.images.mean((1, 2, 3)) < 0.1).sum())
        yield Finding(
            name="brightness",
            group="defence",
            level="suspicious" if dark > e.thresholds.allowed(len(e)) else "reliable",
            message=f"{dark} of {len(e)} images are dark",
            advice="check how the images are decoded",
            source="a user",
        )

    yield
    del RULES["check_brightness"]


@pytest.mark.parametrize(("scale", "count"), [(0.1, 8), (1.0, 0)])
def test_it_is_asked_in_every_evaluation(tmp_path, scale, count):
    torch.manual_seed(0)
    model, images = nn.Sequential(nn.Flatten(), nn.Linear(48, 4)).eval(), scale * torch.rand(8, 3, 4, 4)
    evaluation = ps.evaluate(model, (images, model(images).argmax(1)), attacks=["fgsm"], eps="2/255")
    message = f"{count} of 8 images are dark"
    assert evaluation.diagnostics[-1].message == message
    assert (f"brightness: {message}" in evaluation.verdict.reasons) == (count > 0)
    evaluation.save(tmp_path / "evaluation.json")
    assert json.loads((tmp_path / "evaluation.json").read_text())["diagnostics"][-1]["seen"] == message
    assert message in write_report(tmp_path).read_text()
