"""A diagnostics rule from outside the package: one function."""

from collections.abc import Iterator

import pytest
import torch
from torch import nn

import purespike as ps
from purespike.evaluation.diagnostics import RULES, Examination, rule
from purespike.reporting.page import write_report
from purespike.results import Finding


def define():
    """What a user writes."""

    @rule(needs="images")
    def check_brightness(e: Examination) -> Iterator[Finding]:
        """Are images so dark that the budget covers them?"""
        dark = int((e.images.mean((1, 2, 3)) < 0.1).sum())
        yield Finding(
            name="brightness of the images",
            group="defence",
            level="suspicious" if dark > e.thresholds.allowed(len(e.images)) else "reliable",
            message=f"{dark} of {len(e.images)} images are dark",
            advice="check the decoding of the images",
            source="a user",
        )


@pytest.fixture(autouse=True)
def brightness():
    """The new rule; other tests see nothing of it."""
    define()
    yield
    RULES.pop("check_brightness", None)


def evaluate(scale):
    torch.manual_seed(0)
    model, images = nn.Sequential(nn.Flatten(), nn.Linear(48, 4)).eval(), scale * torch.rand(8, 3, 4, 4)
    labels = model(images).argmax(1)
    return ps.evaluate(model, (images, labels), attacks=["fgsm"], eps="2/255", diagnose=8)


def test_it_is_in_verdict_file_and_report(tmp_path):
    evaluation = evaluate(scale=0.05)
    assert "brightness of the images: 8 of 8 images are dark" in evaluation.verdict.reasons
    finding = evaluation.to_json()["diagnostics"][-1]
    assert (finding["name"], finding["level"]) == ("brightness of the images", "suspicious")
    evaluation.save(tmp_path / "evaluation.json")
    page = write_report(tmp_path).read_text()
    assert "8 of 8 images are dark" in page and "check the decoding of the images" in page


def test_it_changes_no_other_finding():
    findings = evaluate(scale=1.0).to_json()["diagnostics"]
    assert findings[-1]["seen"] == "0 of 8 images are dark" and findings[-1]["advice"] == ""
    del RULES["check_brightness"]
    assert evaluate(scale=1.0).to_json()["diagnostics"] == findings[:-1]


def test_it_is_registered_once():
    with pytest.raises(ps.InputError, match="rule 'check_brightness' is registered twice"):
        define()
