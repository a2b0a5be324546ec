"""What a killed evaluation finds again: finished chunks, and no others."""

import copy
import json

import pytest
import torch

import purespike
from evaluation.victims import defended, photographs, plain, spiking
from purespike.attacks import CarliniWagner, GaussianNoise, SignAttack
from purespike.evaluation.plan import LOSSES, SURROGATES
from purespike.models import Defended

EPS = 10 / 255
QUICK = {
    "attacks": ["gaussian_noise", {"name": "pgd", "steps": 3, "step_size": 5 / 255}],
    "eps": EPS,
    "batch_size": 8,
    "threat": "all",
    "diagnose": 0,
}
# attacks of one chunk under the adaptive threat model, which is kept as a whole
QUICK_ENSEMBLE = [(surrogate, loss) for surrogate in SURROGATES for loss in LOSSES]


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


def test_finished_chunks_are_read_back_without_an_attack(sample, calls, tmp_path):
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
def test_chunks_of_another_evaluation_are_not_taken_for_this_one(sample, calls, tmp_path, model, settings):
    only = {**QUICK, "attacks": ["fgsm"], "threat": ["adaptive"]}
    purespike.evaluate(defended(), sample, folder=tmp_path, **only)
    calls.clear()
    purespike.evaluate(model(), sample, folder=tmp_path, **{**only, **settings})
    assert calls


SHORT = json.dumps({"parts": {"undefended": {"robust": [1], "right": [1.0], "distances": [0.0]}}})


@pytest.mark.parametrize("damage", ["", "[", "[{}]", "[1]", '{"a": 1}', SHORT])
def test_a_damaged_chunk_is_computed_again(sample, calls, tmp_path, damage):
    only = {**QUICK, "attacks": ["fgsm"], "threat": ["undefended"]}
    first = purespike.evaluate(spiking(), sample, folder=tmp_path, **only)
    paths = sorted(tmp_path.glob("*.json"))
    assert len(paths) == 3, "one for each chunk of 8 among 20 images"
    paths[1].write_text(damage)
    calls.clear()
    assert plain(purespike.evaluate(spiking(), sample, folder=tmp_path, **only)) == plain(first)
    assert calls == ["fgsm"], "this chunk alone"
    assert "undefended" in json.loads(paths[1].read_text())["parts"]


@pytest.mark.parametrize(
    "reached",
    [pytest.param(moment, marks=pytest.mark.slow) if moment != 4 else moment for moment in (1, 4, 7, 12)],
)
def test_a_killed_evaluation_goes_on_from_its_last_chunk(sample, calls, monkeypatch, tmp_path, reached):
    whole = purespike.evaluate(defended(), sample, **QUICK)
    needed = len(calls)
    calls.clear()
    with monkeypatch.context() as patch:
        original = SignAttack.__call__

        def killed(self, *arguments):
            if len(calls) >= reached:
                raise KeyboardInterrupt
            return original(self, *arguments)

        patch.setattr(SignAttack, "__call__", killed)
        with pytest.raises(KeyboardInterrupt):
            purespike.evaluate(defended(), sample, folder=tmp_path, **QUICK)
    again = purespike.evaluate(defended(), sample, folder=tmp_path, **QUICK)
    assert plain(again) == plain(whole)
    # the attacks of a threat model that was cut short within a chunk are run once more, no others
    assert needed <= len(calls) <= needed + len(QUICK_ENSEMBLE)
