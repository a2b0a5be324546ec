"""What an evaluation may be given, and how much of it is attacked."""

import subprocess
import sys

import pytest
import torch
from torch import nn

import purespike
from purespike import InputError
from purespike.data import ImageSet
from purespike.evaluation.inputs import read_images
from purespike.models import Defended


def test_data_as_set_and_as_tensors_and_by_name():
    digits = purespike.data.load_data("digits").test.take(12, seed=0)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(3072, 10))
    only = {"attacks": ["fgsm"], "threat": "undefended"}
    by_set = purespike.evaluate(model, digits, **only)
    by_tensors = purespike.evaluate(model, (digits.to_float(), digits.labels), **only)
    by_name = purespike.evaluate(model, "digits", images=12, **only)
    cells = [list(e.cell("fgsm", "undefended").outcomes) for e in (by_set, by_tensors, by_name)]
    assert cells[0] == cells[1] == cells[2]
    assert by_name.content["data"] == by_set.content["data"]
    assert by_set.content["data"]["source"] == "digits" and by_tensors.content["data"]["source"] == "tensors"
    assert isinstance(digits, ImageSet)


def test_labels_beyond_the_classes_are_refused_also_where_they_are_not_attacked():
    x = torch.zeros(20, 3, 8, 8, dtype=torch.uint8)
    data = ImageSet(x, torch.arange(20) % 4, ("a", "b", "c", "d"), "set")
    model = nn.Sequential(nn.Flatten(), nn.Linear(192, 3))
    with pytest.raises(InputError, match="at most 2, found 0 to 3"):
        purespike.evaluate(model, data, attacks="fgsm", threat="undefended", images=1)


def test_clean_accuracy_is_measured_on_the_whole_set():
    data = purespike.data.load_data("digits").test
    torch.manual_seed(0)
    model = Defended(nn.AvgPool2d(3, 1, 1), nn.Sequential(nn.Flatten(), nn.Linear(3072, 10)))
    found = purespike.evaluate(
        model, data, attacks=["gaussian_noise"], threat="all", images=10, batch_size=64
    )
    for part, name in ((model, "defended"), (model.classifier, "undefended")):
        with torch.no_grad():
            right = int((part(data.to_float()).argmax(1) == data.labels).sum())
        assert found.content["clean_whole"][name]["correct"] == right
        assert found.content["clean_whole"][name]["n"] == len(data)
        assert found.content["clean"][name]["n"] == 10
    everything = purespike.evaluate(model, data.take(10, seed=0), attacks=["gaussian_noise"], threat="all")
    assert everything.content["clean_whole"] is None


def test_some_of_given_tensors_are_a_stratified_sample():
    labels = torch.arange(4).repeat_interleave(25)
    images = torch.rand((100, 3, 8, 8), generator=torch.Generator().manual_seed(0))
    taken, classes, described = read_images((images, labels), limit=12, seed=0)
    assert classes.bincount().tolist() == [3, 3, 3, 3] and described.n == 12
    rows = [int((images == image).all((1, 2, 3)).nonzero()) for image in taken]
    assert rows == sorted(set(rows)) and labels[rows].tolist() == classes.tolist()
    assert "missing_classes" not in described.to_json()
    assert read_images((images, labels), limit=100, seed=0)[0] is images


def test_a_class_that_the_sample_lacks_is_in_the_description():
    labels = torch.tensor([0] * 50 + [1] * 50 + [7])
    described = read_images((torch.zeros(101, 1, 4, 4), labels), limit=4, seed=0)[2]
    assert described.to_json()["missing_classes"] == [7]


@pytest.mark.parametrize("parts", [("float32", "float32"), ("float64", "float64"), ("float32", "float64")])
@pytest.mark.parametrize("kind", ["float64", "float16", "numpy"])
def test_each_part_of_a_defended_model_gets_its_own_type(kind, parts):
    torch.manual_seed(0)
    purifier = nn.Conv2d(1, 1, 3, padding=1).to(getattr(torch, parts[0]))
    classifier = nn.Sequential(nn.Flatten(), nn.Linear(64, 3)).to(getattr(torch, parts[1]))
    model, images = Defended(purifier, classifier), torch.rand(6, 1, 8, 8)
    labels = model(images).argmax(1)
    given = images.double().numpy() if kind == "numpy" else images.to(getattr(torch, kind))
    found = purespike.evaluate(
        model, (given, labels), attacks=["fgsm"], threat="all", eps="1/255", diagnose=0
    )
    assert found.clean.defended.accuracy == 1
    assert {cell.threat for cell in found.cells} >= {"undefended", "oblivious", "adaptive"}


def test_bfloat16_images_are_taken():
    torch.manual_seed(0)
    model, images = nn.Sequential(nn.Flatten(), nn.Linear(64, 3)), torch.rand(6, 1, 8, 8).bfloat16()
    labels = model(images.float()).argmax(1)
    found = purespike.evaluate(model, (images, labels), attacks=["fgsm"], diagnose=0)
    assert found.clean.undefended.accuracy == 1


def test_weights_made_in_inference_mode_are_refused_before_anything_else():
    with torch.inference_mode():
        model = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
    images = torch.rand(6, 1, 8, 8), torch.zeros(6, dtype=torch.long)
    with pytest.raises(InputError, match=r"made inside torch\.inference_mode"):
        purespike.evaluate(model, images, attacks=["fgsm"], threat="undefended", diagnose=0)


def test_the_first_evaluation_of_a_process_draws_nothing_from_pythons_generator():
    code = (
        "import random; before = random.getstate()\n"
        "import torch, purespike\n"
        "model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2))\n"
        "data = torch.rand(4, 1, 2, 2), torch.zeros(4).long()\n"
        "purespike.evaluate(model, data, attacks=['fgsm'], diagnose=0)\n"
        "assert random.getstate() == before\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
