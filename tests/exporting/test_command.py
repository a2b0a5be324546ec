"""purespike export, as a user types it."""

import sys

import nir
import pytest
import torch
from training.tiny import finished

import purespike as ps
from exporting.small import classifier
from purespike import cli


def run(monkeypatch, capsys, *arguments):
    monkeypatch.setattr(sys, "argv", ["purespike", "export", *map(str, arguments)])
    with pytest.raises(SystemExit) as left:
        cli.main()
    return left.value.code or 0, capsys.readouterr()


def test_the_classifier_of_a_run_is_made_for_the_size_of_its_data(tmp_path, monkeypatch, capsys):
    code, said = run(monkeypatch, capsys, finished() / "classifier.safetensors", tmp_path / "m.nir")
    assert code == 0 and "takes the image [3, 32, 32] in [0, 1] at each of 2 time steps" in said.out
    assert list(nir.read(tmp_path / "m.nir").nodes["input"].input_type["input"]) == [3, 32, 32]


def test_a_checkpoint_alone_needs_a_size(tmp_path, monkeypatch, capsys):
    ps.save(classifier(), tmp_path / "c.safetensors")
    code, said = run(monkeypatch, capsys, tmp_path / "c.safetensors", tmp_path / "m.nir")
    assert code == 2 and "size: height and width of the images are needed" in said.err
    code, said = run(monkeypatch, capsys, tmp_path / "c.safetensors", tmp_path / "m.nir", "--size", "16x24")
    assert code == 0 and "[3, 16, 24]" in said.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere.safetensors", "m.onnx"], "nowhere.safetensors: no such checkpoint"),
        ([finished, "m.pt"], "m.pt: the suffix names the format, .onnx or .nir"),
        ([finished, "m.nir"], "purifier.denoiser.widen2 (ConvTranspose2d): NIR has no node for it"),
        ([finished, "m.nir", "--size", "tall"], "--size: write height and width, e.g. 32x32, got 'tall'"),
        ([finished, "m.nir", "--size", "0x8"], "size: give height and width of 1 to 4096"),
        ([finished, "m.onnx", "--purifier", finished], "--purifier: MODEL already has one"),
    ],
)
def test_mistakes_are_one_line(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    given = [each() if callable(each) else each for each in arguments]
    code, said = run(monkeypatch, capsys, *given)
    assert code == 2 and message in said.err and said.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_missing_extra_is_named(tmp_path, monkeypatch, capsys):
    ps.save(classifier(), tmp_path / "c.safetensors")
    for package, extra, suffix in (("onnxscript", "onnx", "onnx"), ("nirtorch", "nir", "nir")):
        monkeypatch.setitem(sys.modules, package, None)
        place = tmp_path / f"m.{suffix}"
        code, said = run(monkeypatch, capsys, tmp_path / "c.safetensors", place, "--size", "16")
        assert code == 2 and f"needs {package}: pip install 'purespike[{extra}]'" in said.err
        assert not place.exists()


def test_a_model_keeps_its_mode_and_its_gradients(tmp_path):
    model = classifier().train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    ps.export(model, tmp_path / "m.nir", size=16)
    assert model.training and all(each.requires_grad for each in model.parameters())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
