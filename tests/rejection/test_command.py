"""purespike reject, as a user types it."""

import json

import pytest
from training.tiny import finished


def test_a_gate_is_calibrated_attacked_and_kept(call, tmp_path):
    few = ("--attacks", "pgd:steps=1", "--images", 2, "--surrogates", "rectangle", "--losses", "margin")
    few = (*few, "--calibration-images", 12, "--slight", 0, "--device", "cpu")
    model, kept = finished(), tmp_path / "gate.safetensors"
    score = ("--score", "purification_distance", "--coverage", 0.75)
    printed = call("reject", model, *score, *few, "--save", kept, "--out", tmp_path / "out")
    assert "from clean images of digits/train" in printed and f"report: {tmp_path}/out" in printed
    content = json.loads((tmp_path / "out" / "rejection.json").read_text())
    assert [cell["threat"] for cell in content["cells"]] == ["oblivious", "adaptive"]
    assert content["data"]["n"] == 2 and content["provenance"]["seed"] == 0
    # the saved gate has its threshold, and needs no score
    again = call("reject", kept, "--data", "digits", *few, "--out", tmp_path / "again")
    repeated = json.loads((tmp_path / "again" / "rejection.json").read_text())
    assert "from clean images" not in again and repeated["threshold"] == content["threshold"]
    assert repeated["clean"]["scores"] == content["clean"]["scores"]
    for more, message in (
        (("--score", "noise_max"), "MODEL has a gate already"),
        (("--coverage", 1.5), r"coverage: a share of clean images"),
    ):
        with pytest.raises(AssertionError, match=message):
            call("reject", kept, "--data", "digits", *few, *more)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--gated",), "--gated: MODEL has no purifier; give one with --purifier"),
        ((), "--score is required"),
        (("--score", "noise_mean"), "noise_mean: needs a purifier"),
    ],
)
def test_a_bare_classifier_has_no_purifier_to_gate(call, arguments, message):
    with pytest.raises(AssertionError, match=message):
        call("reject", finished() / "classifier.safetensors", *arguments, "--device", "cpu")
