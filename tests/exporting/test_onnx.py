"""ONNX files give what the model gives, at any number of images, by the word of onnxruntime."""

import json

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
import torch
from torch import nn

import purespike as ps
from exporting.small import SIDE, classifier, images, purifier
from purespike import InputError
from purespike.models import ClassifierSettings, SpikingClassifier
from purespike.neurons import spiking_neurons
from purespike.rejection import Gated, Rejecting


def two_layers(**settings):
    """A network small enough to be traced in a second or two."""
    torch.manual_seed(0)
    made = ClassifierSettings(num_classes=4, time_steps=2, **settings)
    neurons = made.neurons()
    stem = nn.Sequential(nn.Conv2d(made.frame_channels, 6, 3, padding=1), neurons.norm(6))
    return SpikingClassifier(stem, neurons.make(6), 6, made, neurons).eval()


def run(path, batch):
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return [torch.from_numpy(part) for part in session.run(None, {"images": batch.numpy()})]


def test_a_classifier_at_every_number_of_images(tmp_path):
    model, path = classifier(time_steps=2, thresholds=(0.6,)), tmp_path / "m.onnx"
    model.class_names = ("a", "b", "c", "d")
    exported = ps.export(model, path, images=images(3))
    onnx.checker.check_model(str(path), full_check=True)
    for count in (1, 2, 5, 16):
        batch = images(count)
        with torch.no_grad():
            torch.testing.assert_close(run(path, batch)[0], model(batch), atol=1e-5, rtol=0)
    assert exported.images == 10 and exported.largest < 1e-4
    assert str(path) in str(exported) and "batches of 1, 2, 7" in str(exported)
    said = {each.key: each.value for each in onnx.load(path).metadata_props}
    assert json.loads(said["purespike.class_names"]) == ["a", "b", "c", "d"]
    assert json.loads(said["purespike.model"])["architecture"] == "resnet14_snn"
    assert [each.name for each in onnx.load(path).graph.output] == ["logits"]


def test_a_defended_model_and_its_purifier(tmp_path):
    both = ps.Defended(purifier(), two_layers())
    ps.export(both, tmp_path / "both.onnx", size=(SIDE, SIDE))
    ps.export(both.purifier, tmp_path / "purifier.onnx", size=(SIDE, SIDE))
    batch = images(4)
    with torch.no_grad():
        purified = both.purifier(batch)
        torch.testing.assert_close(run(tmp_path / "both.onnx", batch)[0], both(batch), atol=1e-5, rtol=0)
    found = run(tmp_path / "purifier.onnx", batch)
    for theirs, ours in zip(found, purified, strict=True):
        torch.testing.assert_close(theirs, ours, atol=1e-5, rtol=0)
    assert not torch.equal(purified.images, batch), "a purifier that does nothing would show nothing"


@pytest.mark.parametrize("coding", ["dct(block=4)", "frequency"])
def test_codings_that_draw_nothing(coding, tmp_path):
    model = two_layers(coding=coding)
    ps.export(model, tmp_path / "m.onnx", size=SIDE)
    with torch.no_grad():
        expected = model(images(3))
    torch.testing.assert_close(run(tmp_path / "m.onnx", images(3))[0], expected, atol=1e-5, rtol=0)


def test_recalibrated_channels(tmp_path):
    """Also before their means are known."""
    model = two_layers(care=0.5)
    for known in (False, True):
        for neurons in spiking_neurons(model):
            neurons.recalibration.means.uniform_(0, 1, generator=torch.Generator().manual_seed(1))
            neurons.recalibration.known.fill_(known)
        ps.export(model, tmp_path / "m.onnx", size=SIDE)
        with torch.no_grad():
            expected = model(images(3))
        torch.testing.assert_close(run(tmp_path / "m.onnx", images(3))[0], expected, atol=1e-5, rtol=0)


def test_a_gate_is_exported_with_both_ways(tmp_path):
    model = Gated(purifier(), two_layers(), threshold=0.0)
    levels = model.scores(images(6))
    model.threshold = levels.median().item()
    ps.export(model, tmp_path / "m.onnx", images=images(6))
    assert 0 < model.flagged(images(6)).sum() < 6
    with torch.no_grad():
        expected = model(images(6))
    torch.testing.assert_close(run(tmp_path / "m.onnx", images(6))[0], expected, atol=1e-5, rtol=0)


def test_dynamics_of_another_kind(tmp_path):
    model = two_layers(dynamics="adaptivelif")
    ps.export(model, tmp_path / "m.onnx", size=SIDE)
    with torch.no_grad():
        expected = model(images(3))
    torch.testing.assert_close(run(tmp_path / "m.onnx", images(3))[0], expected, atol=1e-5, rtol=0)


class Branching(nn.Module):
    """Depends on the values of all images together, which no traced graph can."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3 * SIDE**2, 4)

    def forward(self, x):
        return self.linear(x.flatten(1)) * (2 if x.sum() > 0 else 1)


class Fixed(Branching):
    def forward(self, x):
        return self.linear(x.flatten(1)) + torch.zeros(len(x), 4)


class OfTheBatch(Branching):
    def forward(self, x):
        logits = self.linear(x.flatten(1))
        return logits - logits.mean(0)


class Drawing(Branching):
    def forward(self, x):
        # too little to move the logits of these images
        return self.linear(x.flatten(1) + 1e-30 * torch.rand_like(x).flatten(1))


STOCHASTIC = "a stochastic model cannot be exported"


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (lambda: two_layers(coding="poisson"), rf"{STOCHASTIC} \(the model: coding poisson\)"),
        (lambda: two_layers(gates="channel"), rf"{STOCHASTIC} \(body.gates: stochastic gates\)"),
        (
            lambda: ps.Defended(purifier(noise=0.1), two_layers()),
            rf"{STOCHASTIC} \(purifier: .*noise \(0.1\)",
        ),
        (Drawing, rf"{STOCHASTIC} \(its forward draws: RandomUniform"),
        (Branching, "Branching: cannot be exported to ONNX: "),
        (OfTheBatch, "OfTheBatch: its answer for an image depends on the images beside it"),
        (Fixed, r"Fixed: its forward fixes the number of images, to 2 as traced: len\(x\)"),
        (lambda: Rejecting(two_layers(), "firing_rate", 0.5), r"Rejecting: .*export its model alone"),
    ],
)
def test_what_cannot_be_exported_is_one_line(model, message, tmp_path, capfd):
    with pytest.raises(InputError, match=message) as raised:
        ps.export(model(), tmp_path / "m.onnx", size=(3, SIDE, SIDE))
    assert "\n" not in str(raised.value) and len(str(raised.value)) < 400
    assert list(tmp_path.iterdir()) == []
    assert capfd.readouterr() == ("", "")


def test_a_file_that_disagrees_is_not_written(tmp_path, monkeypatch):
    path = tmp_path / "m.onnx"
    path.write_text("older")
    model = two_layers()
    export = torch.onnx.export

    def other_bias(module, *arguments, **settings):
        program = export(module, *arguments, **settings)
        (bias,) = [v for k, v in program.model.graph.initializers.items() if k.endswith("readout.bias")]
        bias.const_value = ir.tensor(bias.const_value.numpy() + np.float32(0.01), name=bias.name)
        return program

    monkeypatch.setattr(torch.onnx, "export", other_bias)
    with pytest.raises(InputError, match="onnxruntime differs from the model by"):
        ps.export(model, path, size=SIDE)
    assert path.read_text() == "older" and len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "size: height and width of the images are needed"),
        ({"size": 0}, "size: give height and width of 1 to 4096"),
        ({"size": (3, 4, 5, 6)}, "size: give height and width of 1 to 4096"),
        ({"size": 8, "images": torch.rand(2, 3, SIDE, SIDE)}, r"size: \[3, 8, 8\], but the images are"),
        ({"images": torch.rand(0, 3, SIDE, SIDE)}, "images: none to check the file on"),
        ({"images": 2 * torch.ones(2, 3, SIDE, SIDE)}, r"outside \[0, 1\]"),
    ],
)
def test_sizes_that_cannot_be(settings, message, tmp_path):
    with pytest.raises(InputError, match=message):
        ps.export(two_layers(), tmp_path / "m.onnx", **settings)


def test_paths_that_name_no_format(tmp_path):
    with pytest.raises(InputError, match=r"m\.pt: the suffix names the format, \.onnx or \.nir"):
        ps.export(two_layers(), tmp_path / "m.pt", size=SIDE)
    (tmp_path / "d.onnx").mkdir()
    with pytest.raises(InputError, match=r"d\.onnx: is a folder"):
        ps.export(two_layers(), tmp_path / "d.onnx", size=SIDE)
