import io
import re

import torch
from rich.console import Console
from torch import nn

from purespike import description
from purespike.description import describe
from purespike.models import Defended, Purifier, create
from purespike.models.calibration import natural_noise
from purespike.models.complexity import complexity, energy


def written(model):
    """As on a pipe, 80 columns wide."""
    console = Console(file=io.StringIO(), width=80)
    for part in describe(model):
        console.print(part, markup=False)
    return console.file.getvalue()


def rows(text, first):
    """The cells of every row whose first cell is this."""
    cells = (re.findall(r"[^│┃]+", line) for line in text.splitlines() if "│" in line)
    return [[cell.strip() for cell in line[1:]] for line in cells if line and line[0].strip() == first]


def defended():
    torch.manual_seed(0)
    return Defended(
        Purifier(width=1 / 16, time_steps=2), create("senet18_snn", width=1 / 16, time_steps=2)
    ).eval()


def test_costs_of_the_parts_and_the_defended_model(monkeypatch):
    monkeypatch.setattr(description, "SAMPLE", (2, 16))
    model = defended()
    printed = written(model)
    assert "eq. 11" in printed and "eq. 12" in printed and "45 nm, Horowitz 2014" in printed
    assert "differ on real images" in printed
    images = natural_noise(2, 3, 16, seed=0)
    used = energy(model, images)
    for name, part in (
        ("purifier", model.purifier),
        ("classifier", model.classifier),
        ("defended", model),
    ):
        counts, costs = rows(printed, name)
        cost = complexity(part, 16)
        share = used if name == "defended" else used.part(name)
        millions = (cost.macs, cost.macs_per_image, cost.time, cost.space)
        assert counts == [f"{cost.parameters:,}", *(f"{value / 1e6:,.2f} M" for value in millions)]
        assert costs[:2] == [f"{value / 1e6:,.2f} M" for value in (share.synops, share.macs_left)]
        assert [float(cell) for cell in costs[3:]] == [
            float(f"{value:.2f}" if value >= 1 else f"{value:.3g}")
            for value in (share.microjoules, share.ann_microjoules)
        ]
    assert "purifier: firing rates" in printed and "classifier: firing rates" in printed


def test_the_ten_most_expensive_layers_come_first(monkeypatch):
    monkeypatch.setattr(description, "SAMPLE", (1, 8))
    model = defended()
    printed = written(model)
    table = printed[printed.index("the most expensive layers") : printed.index("firing rates on")]
    names = re.findall(r"^│ ((?:purifier|classifier)\S+)", table, flags=re.MULTILINE)
    layers = energy(model, natural_noise(1, 3, 8, seed=0)).layers
    assert names == [layer.name for layer in sorted(layers, key=lambda layer: -layer.microjoules)[:10]]


def test_a_model_without_spikes_costs_all_its_multiplications():
    model = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(4096, 10))
    printed = written(model)
    counts, costs = rows(printed, "model")
    assert counts[0] == "41,082" and counts[1] == counts[2] == "0.15 M"
    assert costs[:3] == ["0.00 M", "0.15 M", "0.0%"] and costs[3] == costs[4]
    assert "firing rates on" not in printed


def test_a_model_of_other_inputs_is_described_all_the_same():
    printed = written(nn.Linear(7, 3))
    assert "24" in printed
    assert "cost of an image: not measured: Linear fails on images of shape" in printed


def test_grey_images_for_a_model_of_one_channel(monkeypatch):
    monkeypatch.setattr(description, "SAMPLE", (1, 8))
    torch.manual_seed(0)
    printed = written(create("resnet14_snn", in_channels=1, width=1 / 16, time_steps=1))
    assert "one 8×8 image of 1 channel (" in printed


class Heaviside(nn.Module):
    def forward(self, current):
        return (current > 0).float()


def test_neurons_of_others_are_named(monkeypatch):
    monkeypatch.setattr(description, "SAMPLE", (2, 8))
    model = nn.Sequential(nn.Conv2d(3, 4, 3), Heaviside(), nn.Flatten(), nn.Linear(4 * 36, 5))
    assert "spiking, but unknown to purespike: 1;" in written(model)
    assert "unknown to purespike" not in written(create("resnet14_snn", width=1 / 16, time_steps=2))


def test_dynamics_and_coding_are_settings_where_they_are_not_the_default(monkeypatch):
    monkeypatch.setattr(description, "SAMPLE", (2, 8))
    settings = {"width": 1 / 16, "time_steps": 2}
    text = written(create("resnet14_snn", dynamics="adaptivelif(rise=0.5)", coding="poisson", **settings))
    assert "adaptivelif(rise=0.5)" in text and "poisson" in text and "body.0" in text
    text = written(Purifier(dynamics="parametriclif", **settings))
    assert "parametriclif" in text and "thresholds" not in text
    text = written(create("resnet14_snn", **settings))
    assert "dynamics" not in text and "coding" not in text
