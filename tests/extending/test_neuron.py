"""New dynamics from outside the package: one class, named in a recipe, trained, attacked and reported."""

import json
from dataclasses import dataclass

import torch
from training.tiny import recipe

from purespike.experiment import Run
from purespike.models.resolve import resolve
from purespike.neurons import Dynamics, spiking_neurons
from purespike.training import accelerator


@dataclass(frozen=True)
class Fatigue(Dynamics):
    """Every spike makes the membrane leak faster; the threshold is learned."""

    threshold: float = 0.5
    decay: float = 0.5
    fatigue: float = 0.2

    def learnable(self, channels):
        return {"threshold": torch.tensor(self.threshold)}

    def run(self, current, spike, state, tensors):
        membrane, decay = state or (torch.zeros_like(current[0]), torch.full_like(current[0], self.decay))
        spikes = []
        for x in current:
            membrane = decay * membrane + x
            spikes.append(spike(membrane - tensors["threshold"]))
            membrane = membrane * (1 - spikes[-1])
            decay = decay * (1 - self.fatigue * spikes[-1])
        return spikes, (membrane, decay)


def test_a_neuron_from_outside(tmp_path, monkeypatch):
    monkeypatch.setenv("PURESPIKE_COMPILE", "0")
    small = {
        "data": {"train_limit": 40, "test_limit": 10},
        "evaluation": {"attacks": [{"name": "fgsm"}], "diagnose": 2, "threats": ["adaptive"]},
    }
    text = "fatigue(fatigue=0.3)"
    settings = {"width": 1 / 16, "time_steps": 2, "epochs": 1}
    parts = {part: {**settings, "dynamics": text} for part in ("classifier", "purifier")}
    Run(recipe(**small, **parts), tmp_path, accelerator(device="cpu"))()

    models = json.loads((tmp_path / "evaluation.json").read_text())["model"]
    written = "fatigue(threshold=0.5, decay=0.5, fatigue=0.3)"
    assert models["classifier"]["dynamics"] == models["purifier"]["dynamics"] == text
    assert "fatigue(" in (tmp_path / "report.html").read_text()
    neurons = spiking_neurons(resolve(str(tmp_path)))
    assert {str(neuron.dynamics) for neuron in neurons} == {written}
    # training moved what is learned, and the checkpoint kept it
    assert any(neuron.learned["threshold"] != 0.5 for neuron in neurons)
