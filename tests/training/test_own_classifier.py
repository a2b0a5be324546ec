"""Anybody's classifier, defended by one command, and evaluated from the folder that it leaves."""

import json
import sys

import pytest
import torch

from purespike import cli
from purespike.models import Defended
from purespike.models.resolve import resolve
from training.tiny import write_recipe

MODELS = """
import torch
from torch import nn

import purespike as ps


def plain():
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(256, 12), nn.ReLU(), nn.Linear(12, 10))


def spikingjelly():
    from spikingjelly.activation_based import neuron, surrogate

    torch.manual_seed(0)
    return ps.Resetting(
        nn.Sequential(
            nn.Flatten(),
            nn.Linear(256, 12),
            neuron.LIFNode(surrogate_function=surrogate.ATan()),
            nn.Linear(12, 10),
        )
    )


class SnnTorch(nn.Module):
    def __init__(self):
        super().__init__()
        import snntorch
        from snntorch import surrogate

        self.into, self.out = nn.Linear(256, 12), nn.Linear(12, 10)
        self.lif = snntorch.Leaky(beta=0.9, spike_grad=surrogate.atan(), threshold=0.3)

    def forward(self, images):
        memory, logits = self.lif.init_leaky(), 0
        for _ in range(3):
            spikes, memory = self.lif(self.into(images.flatten(1)), memory)
            logits = logits + self.out(spikes)
        return logits


def snntorch_():
    torch.manual_seed(0)
    return SnnTorch()
"""


@pytest.fixture
def call(monkeypatch, capsys, tmp_path):
    (tmp_path / "own_models.py").write_text(MODELS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "own_models", raising=False)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["purespike", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        return stop.value.code, capsys.readouterr()

    return run


@pytest.mark.parametrize("name", ["plain", "spikingjelly", "snntorch_"])
def test_a_classifier_of_ones_own_is_defended_by_one_command(call, tmp_path, name):
    pytest.importorskip(name.rstrip("_")) if name != "plain" else None
    recipe = write_recipe(
        tmp_path / "tiny.yaml",
        data={"source": "digits16", "train_limit": 40, "test_limit": 10},
        purifier={"epochs": 1, "output": "reconstruction", "objective": ["end_to_end"]},
        evaluation={"attacks": [{"name": "fgsm"}]},
    )
    code, told = call("run", recipe, "--classifier", f"own_models:{name}", "--out", "run", "--device", "cpu")
    assert code in (0, None), told.err
    written = {path.name for path in (tmp_path / "run").iterdir()}
    assert {"purifier.safetensors", "evaluation.json", "report.html"} <= written
    assert "classifier.safetensors" not in written, "it is the user's own"
    assert [
        row for row in (tmp_path / "run" / "history.jsonl").read_text().splitlines() if '"classifier"' in row
    ] == []

    defended = resolve("run")
    assert isinstance(defended, Defended) and defended.purifier.config["output"] == "reconstruction"
    own = resolve(f"own_models:{name}")
    for key, value in own.state_dict().items():
        assert torch.equal(value, defended.classifier.state_dict()[key]), (
            f"{key} of the classifier was changed"
        )

    code, told = call(
        "evaluate", "run", "--attacks", "fgsm", "--images", "4", "--diagnose", "0", "--out", "again"
    )
    assert code in (0, None), told.err
    threats = {
        cell["threat"] for cell in json.loads((tmp_path / "again" / "evaluation.json").read_text())["cells"]
    }
    assert "adaptive" in threats and "undefended" in threats, "purifier and classifier are told apart"


def test_the_folder_belongs_to_its_classifier(call, tmp_path):
    recipe = write_recipe(tmp_path / "tiny.yaml", data={"source": "digits16"}, purifier={"epochs": 1})
    line = ("train", "purifier", recipe, "--out", "run", "--device", "cpu", "--classifier")
    assert call(*line, "own_models:plain")[0] in (0, None)
    code, told = call(*line, "own_models:snntorch_")
    assert code == 2 and "run: belongs to another recipe (differs in classifier.source)" in told.err
    assert len(told.err.strip().splitlines()) == 1
