"""Parameters of the classifier that are trained along with its purifier, and the others, which are not."""

import copy

import pytest
import torch

import purespike as ps
from purespike import InputError
from purespike.experiment import Run
from purespike.models.released import FILE, Released, with_released
from purespike.training import accelerator, train_purifier
from training.stops import resumed_purifier
from training.tiny import checkpoint, history, recipe

NORMS_AND_READOUT = r"BatchNorm2d\.|^readout\."


def releasing(pattern=NORMS_AND_READOUT, **changes):
    # a guard at each epoch, an average, and clipping: all have to know what is released
    objective = [{"name": "end_to_end", "eps": "16/255", "denoise": 0.0, "ramp": 0.0, "guard": 4}]
    settings = {"objective": objective, "average": 0.5, "clip": 1.0, "release": pattern, **changes}
    return recipe(data={"source": "digits16"}, purifier={"output": "reconstruction", **settings})


def changed(before, after):
    return {name for name, value in before.items() if not torch.equal(value, after[name])}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("released")
    with Run(releasing(), folder, accelerator(device="cpu")) as made:
        data = made.data()
        classifier = made.classifier(data)
        given = copy.deepcopy(classifier.state_dict())
        purifier = made.purifier(data, classifier)
    return folder, data, given, classifier, purifier


def test_what_is_released_is_trained_and_nothing_else(run):
    _, _, given, classifier, _ = run
    norms = {
        f"{path}.{name}"
        for path, module in classifier.named_modules()
        if isinstance(module, torch.nn.BatchNorm2d)
        for name in ("weight", "bias")
    }
    moved = changed(given, classifier.state_dict())
    # the norms' statistics are those of the classifier's own training; layers in silence have no gradient
    assert {"readout.bias"} < moved <= {"readout.weight", "readout.bias", *norms}


def test_the_folder_keeps_the_classifier_as_given_and_loads_it_as_trained(run):
    folder, data, given, classifier, purifier = run
    assert not changed(given, ps.load(folder / "classifier.safetensors").state_dict())
    model = ps.load(folder)
    assert not changed(classifier.state_dict(), model.classifier.state_dict())
    images = data.test.to_float()[:8]
    with torch.no_grad():
        expected = ps.Defended(purifier, classifier).eval()(images)
        assert torch.equal(model(images), expected)
        untouched = ps.Defended(purifier, ps.load(folder / "classifier.safetensors")).eval()
        assert not torch.equal(untouched(images), expected), "released logits are others"


def test_a_finished_run_is_read_back_as_it_was(run):
    folder, _, _, classifier, purifier = run
    with Run(releasing(), folder, accelerator(device="cpu")) as again:
        data = again.data()
        found = again.classifier(data)
        read = again.purifier(data, found)
    assert not changed(classifier.state_dict(), found.state_dict())
    assert not changed(purifier.state_dict(), read.state_dict())


def test_a_resumed_training_is_one_that_was_never_stopped(run, tmp_path, monkeypatch):
    folder, data, given, classifier, purifier = run
    found = ps.load(folder / "classifier.safetensors")
    section, cpu = releasing().purifier, accelerator(device="cpu")
    resumed = resumed_purifier(section, found, data.train, tmp_path, monkeypatch, seed=3, accelerator=cpu)
    assert changed(given, found.state_dict())
    assert not changed(classifier.state_dict(), found.state_dict())
    assert not changed(purifier.state_dict(), resumed.state_dict())
    assert [row for row in history(folder) if row["stage"] == "purifier"] == history(tmp_path)
    # what is kept is the average, of the classifier's parameters as well
    tensors, _ = checkpoint(tmp_path / "checkpoint" / "purifier.safetensors")
    values = {
        name: tensors[f"average/module.1.values.{index}"]
        for index, name in enumerate(Released(found, NORMS_AND_READOUT).names)
    }
    assert values == {name: found.state_dict()[name].numpy().tobytes() for name in values}


def test_without_release_the_classifier_is_frozen(run, tmp_path):
    _, data, given, _, _ = run
    classifier = ps.load(run[0] / "classifier.safetensors")
    section = releasing(None).purifier
    train_purifier(
        section, classifier, data.train, folder=tmp_path, seed=3, accelerator=accelerator(device="cpu")
    )
    assert not changed(given, classifier.state_dict())
    assert not (tmp_path / FILE).exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"pattern": "nowhere"},
            "purifier.release: no parameter of the classifier matches the pattern 'nowhere'",
        ),
        ({"objective": "paper"}, "purifier.release: paper has no gradient in the classifier; use end_to_end"),
    ],
)
def test_what_cannot_be_released_is_refused_before_training(run, tmp_path, changes, message):
    _, data, _, classifier, _ = run
    section, cpu = releasing(**changes).purifier, accelerator(device="cpu")
    with pytest.raises(InputError, match=message):
        train_purifier(section, classifier, data.train, folder=tmp_path, seed=3, accelerator=cpu)
    assert not (tmp_path / "checkpoint").exists()


def test_a_pattern_is_a_regular_expression():
    with pytest.raises(InputError, match="release: not a regular expression"):
        releasing("(")


def test_values_of_another_classifier_are_refused(tmp_path):
    Released(torch.nn.Linear(3, 2), "weight").write(tmp_path)
    assert with_released(torch.nn.Linear(3, 2), tmp_path) is not None
    with pytest.raises(
        InputError, match=r"released.safetensors: does not belong to this classifier \(weight\)"
    ):
        with_released(torch.nn.Linear(4, 2), tmp_path)
