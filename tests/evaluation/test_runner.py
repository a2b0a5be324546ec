"""What a killed evaluation finds again: finished cells, and no others."""

import copy
import json

import pytest
import torch

import purespike
from evaluation.victims import defended, photographs, plain, spiking
from purespike.attacks import CarliniWagner, GaussianNoise, SignAttack
from purespike.models import Defended

EPS = 10 / 255
QUICK = {
    "attacks": ["gaussian_noise", {"name": "pgd", "steps": 3, "step_size": 5 / 255}],
    "eps": EPS,
    "batch_size": 8,
    "threat": "all",
    "diagnose": 0,
}


@pytest.fixture(scope="module")
def sample():
    return photographs(20, seed=7)


@pytest.fixture
def calls(monkeypatch):
    """How often attacks are run."""
    count = []
    for mechanism in (SignAttack, CarliniWagner, GaussianNoise):
        original = mechanism.__call__

        def counted(self, *arguments, original=original):
            count.append(self.name)
            return original(self, *arguments)

        monkeypatch.setattr(mechanism, "__call__", counted)
    return count


def test_finished_cells_are_read_back_without_an_attack(sample, calls, tmp_path):
    first = purespike.evaluate(defended(), sample, folder=tmp_path, **QUICK)
    assert calls
    calls.clear()
    second = purespike.evaluate(defended(), sample, folder=tmp_path, **QUICK)
    assert not calls
    assert second.content["cells"] == first.content["cells"], "seconds, too: they were not spent again"


def changed_weight():
    model = copy.deepcopy(defended())
    with torch.no_grad():
        next(model.purifier.parameters()).mul_(1.001)
    return model


def other_thresholds():
    """The same tensors in neurons that fire otherwise."""
    model = copy.deepcopy(defended())
    config = {**model.purifier.config, "thresholds": [0.4]}
    config.pop("architecture")
    purifier = type(model.purifier)(**config, calibrated=False)
    purifier.load_state_dict(model.purifier.state_dict())
    return Defended(purifier, model.classifier).eval()


@pytest.mark.parametrize(
    ("model", "settings"),
    [
        (changed_weight, {}),
        (other_thresholds, {}),
        (defended, {"seed": 9}),
        (defended, {"batch_size": 7}),
        (defended, {"eps": EPS / 2}),
        (defended, {"surrogates": ["triangle(width=1)"]}),
        (defended, {"losses": ["margin"]}),
        (defended, {"images": 19}),
    ],
)
def test_cells_of_another_evaluation_are_not_taken_for_this_one(sample, calls, tmp_path, model, settings):
    only = {**QUICK, "attacks": ["fgsm"], "threat": ["adaptive"]}
    purespike.evaluate(defended(), sample, folder=tmp_path, **only)
    calls.clear()
    purespike.evaluate(model(), sample, folder=tmp_path, **{**only, **settings})
    assert calls


@pytest.mark.parametrize("damage", ["", "[", "[{}]", "[1]", '{"a": 1}'])
def test_a_damaged_cell_is_computed_again(sample, tmp_path, damage):
    only = {**QUICK, "attacks": ["fgsm"], "threat": ["undefended"]}
    first = purespike.evaluate(spiking(), sample, folder=tmp_path, **only)
    (path,) = tmp_path.glob("*.json")
    path.write_text(damage)
    assert plain(purespike.evaluate(spiking(), sample, folder=tmp_path, **only)) == plain(first)
    assert json.loads(path.read_text())[0]["attack"] == "fgsm"
