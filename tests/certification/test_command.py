"""purespike certify, as a user types it."""

import json

import pytest
from training.tiny import finished


def test_certify_writes_a_page_and_resumes(call, tmp_path, monkeypatch):
    few = ("--n", 30, "--n0", 10, "--sigma", 1, "--images", 2, "--device", "cpu", "--out", tmp_path / "out")
    others = "--compare", f"again={finished() / 'classifier.safetensors'}"
    printed = call("certify", finished(), *few, *others)
    assert "Certified accuracy in %" in printed and "defended model" in printed
    assert f"report: {tmp_path}/out/certification.html" in printed
    content = json.loads((tmp_path / "out" / "certification.json").read_text())
    models = content["models"]
    assert list(models) == ["defended model", "bare classifier", "again"]
    assert models["again"]["certificates"] == models["bare classifier"]["certificates"]
    assert content["data"]["source"] == "digits" and content["smoothing"]["n"] == 30
    monkeypatch.setattr("purespike.certification.smoothed.count_votes", None)
    assert call("certify", finished(), *few, *others) == printed
    with pytest.raises(AssertionError, match=r"is that of sigma 1; choose another --out, or delete it"):
        call("certify", finished(), *few, "--sigma", 2)
    with pytest.raises(AssertionError, match=r"is that of another model \(purifier \+ resnet14_snn\)"):
        call("certify", finished() / "classifier.safetensors", *few)
