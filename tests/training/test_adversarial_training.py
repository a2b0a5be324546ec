"""Adversarial training from end to end: a network that it makes robust, and the passes that it counts."""

import pytest

from purespike import InputError
from purespike.attacks import SignAttack, create_attack
from purespike.models.predict import as_float
from purespike.training import accelerator, train_classifier
from purespike.training.state import read_history
from training.tiny import recipe, two_sides


def trained(folder, adversarial):
    settings = recipe(
        classifier={
            "width": 0.1,
            "epochs": 4,
            "batch_size": 24,
            "milestones": [],
            "crop_padding": 0,
            "flip": False,
            "adversarial": adversarial,
        }
    ).classifier
    cpu, data = accelerator(device="cpu"), two_sides()
    model = train_classifier(settings, data, folder=folder, seed=0, accelerator=cpu)
    images, labels = as_float(data.test.images), data.test.labels
    judge = create_attack("pgd", eps="20/255", steps=10, step_size="5/255", loss="margin")
    assert isinstance(judge, SignAttack)
    clean = (model(images).argmax(1) == labels).float().mean().item()
    return clean, 1 - judge(model, images, labels).success.float().mean().item()


@pytest.fixture(scope="module")
def undefended(tmp_path_factory):
    folder = tmp_path_factory.mktemp("plain")
    return folder, *trained(folder, "none")


TRAININGS = {
    "fgsm": ({"name": "fgsm", "eps": "20/255", "random_start": True}, 2),
    "pgd": ({"name": "pgd", "eps": "20/255", "steps": 3, "step_size": "8/255"}, 4),
    "trades": ({"name": "trades", "eps": "20/255", "steps": 3, "step_size": "8/255"}, 6),
}


@pytest.mark.parametrize(
    ("settings", "passes"),
    [
        pytest.param(*TRAININGS["fgsm"], id="fgsm"),
        pytest.param(*TRAININGS["pgd"], id="pgd"),
        pytest.param(*TRAININGS["trades"], id="trades", marks=pytest.mark.slow),
    ],
)
def test_adversarial_training_makes_a_network_robust(tmp_path, undefended, settings, passes):
    _, clean_before, robust_before = undefended
    clean, robust = trained(tmp_path, settings)
    assert clean_before > 0.9 and clean > 0.9
    assert robust > robust_before + 0.15
    *_, last = read_history(tmp_path / "history.jsonl")
    assert last["passes"] == passes * 240 and last["adversarial_accuracy"] > 0.8
    assert ("accuracy" in last) == (settings["name"] == "trades"), "of clean images, where any were seen"


def test_plain_training_counts_one_pass_an_image(undefended):
    first, second, *_ = read_history(undefended[0] / "history.jsonl")
    assert "passes" not in first and second["passes"] == 240 and "adversarial_accuracy" not in second


def test_a_bad_setting_stops_before_training(tmp_path):
    settings = recipe(classifier={"adversarial": {"name": "pgd", "steps": -1}}).classifier
    with pytest.raises(InputError, match=r"classifier\.objective: pgd: steps"):
        train_classifier(
            settings, two_sides(), folder=tmp_path, seed=0, accelerator=accelerator(device="cpu")
        )
    assert not list(tmp_path.iterdir())
