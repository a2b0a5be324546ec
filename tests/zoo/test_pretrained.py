"""A folder of the hub's kind holds a model, its settings and a card; nothing else is read."""

import json

import pytest
import torch
import yaml

import purespike as ps
from purespike.errors import InputError
from purespike.models import create
from purespike.tensors import read_tensors, write_tensors
from purespike.zoo import pretrained
from purespike.zoo.loading import digest


@pytest.fixture
def model():
    torch.manual_seed(0)
    made = create("resnet14_snn", num_classes=3, width=1 / 16, time_steps=1, in_channels=1)
    made.class_names = ("a", "b", "c")
    return made.eval()


@pytest.fixture(scope="module")
def images():
    return torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("half", [False, True])
def test_a_folder_brings_the_model_back(model, images, tmp_path, half):
    folder = ps.save_pretrained(model, tmp_path / "mine", half=half)
    assert {path.name for path in folder.iterdir()} == {"config.json", "model.safetensors", "README.md"}
    found = ps.from_pretrained(folder)
    assert found.class_names == model.class_names
    assert torch.allclose(found(images), model(images), atol=2e-2 if half else 0)
    # a folder of this kind is a model wherever one is named
    assert torch.equal(ps.load(folder)(images), found(images))


def test_a_defended_model_too(images, tmp_path):
    both = ps.zoo.load("digits16-holding")
    images = torch.rand(2, 1, 16, 16)
    ps.save_pretrained(both, tmp_path)
    assert torch.equal(ps.from_pretrained(tmp_path)(images), both(images))
    text = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert "- purifier:" in text and "- classifier:" in text


def test_the_card_names_threat_model_and_budget(model, images, tmp_path):
    labels = model(images).argmax(1)
    evaluation = ps.evaluate(
        model, (images, labels), attacks=["fgsm"], eps="4/255", threat="adaptive", diagnose=0
    )
    ps.save_pretrained(model, tmp_path, evaluation=evaluation, licence="mit", name="mine")
    text = (tmp_path / "README.md").read_text(encoding="utf-8")
    header = yaml.safe_load(text.split("---")[1])
    metrics = header["model-index"][0]["results"][0]["metrics"]
    names = [
        metric["name"] for results in header["model-index"][0]["results"] for metric in results["metrics"]
    ]
    assert metrics and "robust accuracy, adaptive, L∞ eps 4/255" in names
    assert not [name for name in names if "robust" in name and "L∞ eps" not in name]
    assert header["license"] == "mit" and header["library_name"] == "purespike"
    assert "adaptive, L∞ eps 4/255" in text.split("---")[2]


def test_without_a_measurement_the_card_says_so(model, tmp_path):
    ps.save_pretrained(model, tmp_path)
    text = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert "Not measured" in text and "model-index" not in text


def test_weights_too_large_for_half_precision_are_refused(model, tmp_path):
    with torch.no_grad():
        next(model.parameters()).fill_(1e5)
    with pytest.raises(InputError, match="reaches 1e\\+05, too large for half precision"):
        ps.save(model, tmp_path / "m.safetensors", half=True)
    assert not list(tmp_path.iterdir())


def test_damaged_folders_are_one_line(model, tmp_path):
    folder = ps.save_pretrained(model, tmp_path / "mine")
    config = json.loads((folder / "config.json").read_text())

    def refused(match):
        with pytest.raises(InputError, match=match):
            ps.from_pretrained(folder)

    (folder / "config.json").write_text(json.dumps({**config, "sha256": "0" * 64}))
    refused("has another sha256")
    (folder / "config.json").write_text(json.dumps({**config, "architecture": {"architecture": "other"}}))
    refused("names another architecture")
    (folder / "config.json").write_text(json.dumps({"model_type": "bert"}))
    refused("not one of purespike")
    (folder / "config.json").write_text("[")
    refused("config.json")
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    refused("no model.safetensors")
    with pytest.raises(InputError, match="has no revision"):
        ps.from_pretrained(folder, revision="main")
    with pytest.raises(InputError, match="is a file"):
        ps.save_pretrained(model, folder / "config.json")


def test_the_hub_is_asked_for_two_files_only(model, tmp_path, monkeypatch):
    folder, asked = ps.save_pretrained(model, tmp_path / "mine"), []

    def download(name, file, revision=None):
        asked.append((name, file, revision))
        return str(folder / file)

    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
    assert torch.equal(
        next(ps.from_pretrained("me/mine", revision="v1").parameters()), next(model.parameters())
    )
    assert asked == [("me/mine", "config.json", "v1"), ("me/mine", "model.safetensors", "v1")]


def test_a_hub_that_fails_is_one_line(monkeypatch):
    def download(*_, **__):
        raise OSError("We couldn't connect")

    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
    with pytest.raises(
        InputError, match=r"me/mine: config\.json cannot be had from the hub: We couldn't connect"
    ):
        ps.from_pretrained("me/mine")
    with pytest.raises(InputError, match="no such folder, and not an id of the hub"):
        pretrained.from_pretrained("mine")


def test_metadata_that_are_no_json_are_one_line(model, tmp_path):
    folder = ps.save_pretrained(model, tmp_path / "mine")
    tensors, header = read_tensors(folder / "model.safetensors")
    write_tensors(folder / "model.safetensors", tensors, {**header, "config": "{bad"})
    config = json.loads((folder / "config.json").read_text())
    config["sha256"] = digest(folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match=r"model\.safetensors: config"):
        ps.from_pretrained(folder)


def test_what_is_no_evaluation_writes_nothing(model, tmp_path):
    with pytest.raises(InputError, match="expected an Evaluation, got str"):
        ps.save_pretrained(model, tmp_path / "mine", evaluation="x")
    assert not (tmp_path / "mine").exists()


def test_the_norm_of_a_card_is_that_of_the_evaluation(tmp_path):
    model = ps.zoo.load("digits16")
    evaluation = ps.evaluate(model, "digits16", attacks=["flips"], norm="l0", eps="5", images=4, diagnose=0)
    text = (ps.save_pretrained(model, tmp_path, evaluation=evaluation) / "README.md").read_text(
        encoding="utf-8"
    )
    assert "adaptive, L0 eps 5" in text and "L∞" not in text
