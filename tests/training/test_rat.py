"""SNN-RAT as a training: its identity setting, its projections, and a run that was stopped."""

import pytest

import purespike.training.classifier as module
from purespike.data import load_data
from purespike.errors import InputError
from purespike.experiment import share_of
from purespike.training import accelerator, train_classifier
from training.test_loop import equal, stopped_after
from training.tiny import history, recipe

RAT = {
    "architecture": "wideresnet16_4_snn",
    "width": 1 / 16,
    "thresholds": [1.0],
    "decay": 1.0,
    "surrogate": "triangle(width=1)",
    "optimiser": {"name": "sgd", "weight_decay": 0},
}
PGD = {"name": "pgd", "eps": "2/255", "steps": 2, "step_size": "1/255"}


@pytest.fixture(scope="module")
def data():
    return share_of(recipe(), load_data("digits"))


def train(folder, data, objective, **changes):
    settings = recipe(classifier={**RAT, "objective": objective, **changes}).classifier
    cpu = accelerator(device="cpu")
    return train_classifier(settings, data, folder=folder, seed=3, accelerator=cpu)


def test_beta_0_is_adversarial_training_bit_for_bit(data, tmp_path):
    parts = {"plain": [PGD], "idle": [PGD, {"name": "parseval", "beta": 0}], "at work": [PGD, "parseval"]}
    made = {name: train(tmp_path / name, data, objective, epochs=1) for name, objective in parts.items()}
    assert equal(made["plain"], made["idle"]) and not equal(made["plain"], made["at work"])
    assert history(tmp_path / "idle")[-1]["passes"] == 60 * 3


def test_resumed_it_ends_as_one_never_stopped(data, tmp_path, monkeypatch):
    """With rows that parseval draws, frames that the coding draws, and pairs on the simplex."""
    parts = [PGD, {"name": "parseval", "many": 5}, "convex"]

    def go(folder):
        return train(folder, data, parts, coding="signedpoisson")

    stopped_after(tmp_path / "stopped", 1, go, monkeypatch, module)
    found = go(tmp_path / "stopped")
    assert equal(found, go(tmp_path / "straight"))
    pairs = [value for name, value in found.state_dict().items() if name.endswith("gate.weights")]
    assert len(pairs) == 6 and all(pair.sum().item() == pytest.approx(1) for pair in pairs)
    assert all(pair.min() >= 0 for pair in pairs) and any(pair.tolist() != [0.5, 0.5] for pair in pairs)


def test_convex_without_a_pair_is_one_clear_line(data, tmp_path):
    with pytest.raises(InputError, match=r"convex: the network joins no .*wideresnet16_4_snn.*leave convex"):
        train(tmp_path, data, ["none", "convex"], architecture="resnet14_snn")
