"""Where nothing can be concluded the verdict says so, and says what."""

import pytest
import torch
from torch import nn

import purespike
from evaluation.victims import CLASSES, foreign, photographs
from purespike.errors import InputError
from purespike.evaluation.diagnostics.evidence import check_evidence

from .asking import ask, by_name, cell

TRUTH = [index % 4 for index in range(40)]


def examined(right, truth=TRUTH, *, cells=None, model=None, **more):
    clean = {"undefended": right, "defended": right}
    known = {"cells": [cell("adaptive")] if cells is None else cells, "clean": clean, "truth": truth, **more}
    return by_name(ask(check_evidence, model or nn.Identity(), torch.zeros(0), torch.zeros(0), **known))


def test_enough_is_said_to_be_enough():
    (finding,) = examined([1] * 36 + [0] * 4).values()
    assert (finding.level, finding.message) == (
        "reliable",
        "36 of 40 images of 4 classes are classified correctly when clean",
    )


@pytest.mark.parametrize(
    ("given", "name", "level"),
    [
        ({"right": [1], "truth": [2]}, "number of images", "suspicious"),
        ({"right": [0] * 40}, "something to attack", "unreliable"),
        ({"right": [1] * 10 + [0] * 30}, "better than chance", "unreliable"),
        ({"right": [1] * 40, "truth": [3] * 40}, "more than one class", "unreliable"),
        ({"right": [1] * 40, "cells": [cell("adaptive", eps=0.0)]}, "a budget above zero", "unreliable"),
        ({"right": [1] * 40, "cells": [cell("adaptive", eps=1e-9)]}, "a budget above zero", "unreliable"),
        ({"right": [1] * 40, "cells": []}, "an attacker", "suspicious"),
        ({"right": [1] * 40, "missing_classes": [4, 7]}, "classes of the sample", "suspicious"),
    ],
)
def test_what_cannot_be_concluded_is_named(given, name, level):
    found = examined(**given)
    assert {name: finding.level for name, finding in found.items()} == {name: level}


@pytest.mark.parametrize(("count", "few"), [(1, True), (3, True), (4, False)])
def test_of_few_examined_images_nothing_is_concluded(count, few):
    images, labels = torch.zeros(count, 1, 2, 2), torch.zeros(count, dtype=torch.long)
    clean = {"undefended": [1] * 40, "defended": [1] * 40}
    known = {"cells": [cell("adaptive")], "clean": clean, "truth": TRUTH}
    found = by_name(ask(check_evidence, nn.Identity(), images, labels, **known))
    expected = {"number of examined images": "suspicious"} if few else {"enough to conclude from": "reliable"}
    assert {name: finding.level for name, finding in found.items()} == expected


def test_an_evaluation_examined_on_one_image_is_not_reliable():
    images, labels = photographs(40, seed=3)
    quick = {"attacks": ["fgsm"], "eps": "8/255", "threat": "adaptive"}
    verdict = purespike.evaluate(foreign(), (images, labels), diagnose=1, **quick).verdict
    assert any(reason.startswith("number of examined images") for reason in verdict.reasons)


def test_a_constant_answer_is_chance_whatever_the_shares():
    truth = [0] * 30 + [1] * 10
    assert "better than chance" in examined([1] * 30 + [0] * 10, truth)
    assert "better than chance" not in examined([1] * 39 + [0], truth)


@pytest.mark.parametrize(("right", "told"), [(40, False), (37, False), (28, True)])
def test_clean_accuracy_is_compared_with_that_of_training(right, told):
    model = nn.Identity()
    model.trained_accuracy = 0.97
    found = examined([1] * right + [0] * (40 - right), model=model)
    assert ("as accurate as in training" in found) == told


def test_the_accuracy_of_training_comes_with_the_checkpoint(tmp_path):
    model = purespike.models.create("resnet14_snn", width=1 / 16, num_classes=4)
    purespike.save(model, tmp_path / "classifier.safetensors")
    assert not hasattr(purespike.load(tmp_path / "classifier.safetensors"), "trained_accuracy")
    rows = '{"stage": "classifier", "epoch": 0, "test_accuracy": 0.2}\n' * 2
    (tmp_path / "history.jsonl").write_text(rows.replace("0.2}\n", "0.9}\n", 2), encoding="utf-8")
    assert purespike.load(tmp_path / "classifier.safetensors").trained_accuracy == 0.9
    (tmp_path / "history.jsonl").write_text("{", encoding="utf-8")
    assert not hasattr(purespike.load(tmp_path), "trained_accuracy")


class Constant(nn.Module):
    def forward(self, images):
        return images.mean((1, 2, 3))[:, None] * torch.zeros(CLASSES) + torch.eye(CLASSES)[0]


@pytest.mark.parametrize("count", [1, 40])
def test_an_evaluation_of_nothing_is_not_reliable(count):
    images, labels = photographs(count, seed=3)
    quick = {"attacks": ["fgsm"], "eps": "8/255", "threat": "adaptive", "diagnose": 4}
    hopeless = purespike.evaluate(Constant(), (images, labels), **quick)
    assert hopeless.verdict.level in ("suspicious", "unreliable")
    wrong = purespike.evaluate(foreign(), (images, (foreign()(images).argmax(1) + 1) % CLASSES), **quick)
    assert wrong.verdict.level == "unreliable"
    assert wrong.verdict.reasons[0].startswith("something to attack: none of")


class OneRow(nn.Module):
    """Logits of the whole batch, as one row."""

    def forward(self, images):
        return foreign()(images).mean(0, keepdim=True)


class OneClass(nn.Module):
    def forward(self, images):
        return foreign()(images)[:, :1]


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (OneRow(), r"returns a tensor \[1, 4\] for 2 images, not logits \[N, K\]"),
        (OneClass(), "knows one class only"),
    ],
)
@pytest.mark.parametrize("count", [1, 5])
def test_a_model_without_a_row_of_logits_per_image_is_refused(model, message, count):
    with pytest.raises(InputError, match=message):
        purespike.evaluate(model, (photographs(count, seed=3)[0], torch.zeros(count).long()))
