"""A run folder: what is in it, to whom it belongs, and what is done again."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from training.tiny import files, finished, history, outcomes, recipe

import purespike.experiment as experiment
from purespike import InputError, load, save
from purespike.data import load_data
from purespike.evaluation import evaluate
from purespike.experiment import Run, training_images
from purespike.models import Defended
from purespike.models.resolve import resolve
from purespike.recipe import load_recipe
from purespike.reporting import section
from purespike.results import Comparison, Evaluation
from purespike.run_folder import check_owner
from purespike.training import accelerator

COMMITTED = sorted((Path(__file__).parents[1] / "results").glob("*/recipe.yaml"))


def run(folder, **sections):
    return Run(recipe(**sections), folder, accelerator(device="cpu"))


def test_a_run_leaves_what_the_design_names():
    names = set(files(finished()))
    assert {
        "recipe.yaml",
        "environment.json",
        "classifier.safetensors",
        "purifier.safetensors",
        "history.jsonl",
        "evaluation.json",
        "samples.npz",
        "report.html",
        "checkpoint/classifier.safetensors",
        "checkpoint/purifier.safetensors",
    } <= names
    assert any(name.startswith("figures/") for name in names)
    assert not any(name.endswith(".part") for name in names)
    assert load_recipe(finished() / "recipe.yaml") == recipe()
    rows = [(row["stage"], row["epoch"]) for row in history(finished())]
    assert rows == [(stage, epoch) for stage in ("classifier", "purifier") for epoch in range(3)]


def test_the_numbers_are_those_of_the_models_on_disk():
    """Plain predictions of what anybody would load give the clean accuracy that the run reports."""
    model = resolve(str(finished()))
    assert isinstance(model, Defended)
    test = load_data("digits").test.take(20, seed=recipe().seed)
    with torch.no_grad():
        for part, name in ((model, "defended"), (model.classifier, "undefended")):
            right = (part(test.to_float()).argmax(1) == test.labels).int().tolist()
            assert outcomes(finished())["clean_outcomes"][name] == right


def test_the_samples_are_what_their_names_say():
    with np.load(finished() / "samples.npz") as samples:
        arrays = {name: samples[name] for name in samples.files}
    model = resolve(str(finished()))
    clean, adversarial, known = (torch.from_numpy(arrays[it]) for it in ("clean", "adversarial", "adaptive"))
    for attacked, result, prediction in (
        (adversarial, "purified", "defended_prediction"),
        (known, "adaptive_purified", "adaptive_prediction"),
    ):
        assert (attacked - clean).abs().max() <= 16 / 255 + 1e-6
        assert not torch.equal(attacked, clean)
        with torch.no_grad():
            purified = model.purify(attacked)
            torch.testing.assert_close(torch.from_numpy(arrays[result]), purified.clamp(0, 1))
            assert arrays[prediction].tolist() == model.classifier(purified).argmax(1).tolist()
    assert not torch.equal(known, adversarial)
    with torch.no_grad():
        assert arrays["undefended_prediction"].tolist() == model.classifier(adversarial).argmax(1).tolist()
    caption = str(arrays["caption"])
    assert "16/255" in caption and "oblivious" in caption and "adaptive" in caption


@pytest.fixture
def copied(tmp_path):
    shutil.copytree(finished(), tmp_path / "run")
    return tmp_path / "run"


@pytest.fixture
def computed(monkeypatch):
    """Names of the stages that were computed, not read."""
    done = []
    for name in ("train_classifier", "train_purifier", "evaluate"):
        original = getattr(experiment, name)

        def counted(*arguments, original=original, name=name, **settings):
            done.append(name)
            return original(*arguments, **settings)

        monkeypatch.setattr(experiment, name, counted)
    return done


@pytest.mark.parametrize(
    ("missing", "again"),
    [
        (["evaluation.json"], ["evaluate"]),
        (["purifier.safetensors"], ["train_purifier"]),
        (["classifier.safetensors"], ["train_classifier"]),
    ],
)
def test_a_stage_is_computed_only_if_its_result_is_missing(copied, computed, missing, again):
    for name in missing:
        (copied / name).unlink()
    run(copied)()
    assert computed == again
    assert outcomes(copied) == outcomes(finished())


@pytest.mark.parametrize(
    ("sections", "names"),
    [
        ({"seed": 4}, "seed"),
        ({"classifier": {"epochs": 3}}, r"classifier\.epochs"),
        ({"purifier": {"beta": 0.4}, "data": {"test_limit": 21}}, r"data\.test_limit, purifier\.beta"),
    ],
)
def test_a_folder_belongs_to_one_recipe(copied, sections, names):
    before = files(copied)
    with pytest.raises(InputError, match=rf"belongs to another recipe \(differs in {names}\)"):
        run(copied, **sections)
    assert files(copied) == before


def test_a_recipe_from_before_a_key_is_still_the_same_recipe(copied):
    """What an older version wrote has the meaning it had then: that of the defaults."""
    path = copied / "recipe.yaml"
    older = yaml.safe_load(path.read_text())
    for key in ("role", "attacker_limit", "defender_seed"):
        del older["data"][key]
    path.write_text(yaml.safe_dump(older))
    run(copied).data()
    assert load_recipe(path) == recipe() and "role" in yaml.safe_load(path.read_text())["data"]
    path.write_text(yaml.safe_dump(older))
    with pytest.raises(InputError, match=r"another recipe \(differs in data\.role\)"):
        run(copied, data={"role": "attacker"})


@pytest.mark.parametrize("path", COMMITTED, ids=lambda path: path.parent.name)
def test_committed_results_go_on(path, tmp_path):
    shutil.copy(path, tmp_path / "recipe.yaml")
    check_owner(load_recipe(path), tmp_path)


def test_a_key_that_nobody_knows_is_named(copied):
    path = copied / "recipe.yaml"
    path.write_text(path.read_text() + "weather: fine\n")
    with pytest.raises(InputError, match=r"another recipe \(differs in weather\)"):
        run(copied)


def test_a_damaged_recipe_is_another_recipe(copied):
    (copied / "recipe.yaml").write_text("[")
    with pytest.raises(InputError, match="belongs to another recipe"):
        run(copied)


def test_an_empty_folder_may_become_a_run(tmp_path):
    run(tmp_path).data()
    assert (tmp_path / "recipe.yaml").exists()


def test_a_folder_with_anything_else_may_not(tmp_path):
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(InputError, match="is not a run folder"):
        run(tmp_path)


def test_a_mistake_in_the_data_leaves_the_folder_for_a_better_recipe(tmp_path):
    with pytest.raises(InputError, match="unknown data set"):
        run(tmp_path / "run", data={"source": "digist"}).data()
    run(tmp_path / "run").data()


def test_the_limits_draw_subsets():
    data = run(finished()).data()
    assert (len(data.train), len(data.test)) == (60, 20)
    assert set(data.train.labels.tolist()) == set(range(10))


def pictures(part):
    return {image.numpy().tobytes() for image in part.images}


def test_an_attacker_has_the_rest_of_the_training_images(tmp_path):
    defender = run(finished()).data()
    attacker = run(tmp_path, data={"role": "attacker", "attacker_limit": 70}).data()
    assert len(attacker.train) == 70 and not pictures(attacker.train) & pictures(defender.train)
    assert pictures(attacker.train) <= pictures(load_data("digits").train)
    assert attacker.test.fingerprint() == defender.test.fingerprint()


def test_an_attacker_with_a_seed_of_its_own_names_the_defenders(tmp_path):
    defender = run(finished()).data()
    own = {"role": "attacker", "defender_seed": recipe().seed}
    attacker = run(tmp_path, seed=99, data=own).data()
    assert not pictures(attacker.train) & pictures(defender.train)
    assert (
        attacker.train.fingerprint()
        == run(tmp_path / "b", data={"role": "attacker"}).data().train.fingerprint()
    )


def test_where_the_defender_trains_on_all_the_attacker_has_what_is_not_attacked(tmp_path):
    changes = {"data": {"train_limit": None, "test_limit": 200}, "evaluation": {"images": 50}}
    defended = run(tmp_path / "defender", **changes).data()
    attacker = run(
        tmp_path / "attacker", **{**changes, "data": {**changes["data"], "role": "attacker"}}
    ).data()
    # what evaluate() says it attacked
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3072, 10))
    evaluation = evaluate(
        model, defended.test, attacks=["fgsm"], images=50, seed=recipe().seed, threat="undefended", diagnose=0
    )
    assert evaluation.content["data"]["fingerprint"] == attacker.test.fingerprint()
    assert len(attacker.train) == 360 - 50
    assert not pictures(attacker.train) & (pictures(attacker.test) | pictures(defended.train))


def test_an_attacker_trains_a_substitute_with_the_ordinary_engine(tmp_path):
    started = run(tmp_path, data={"role": "attacker", "attacker_limit": 50}, classifier={"epochs": 1})
    substitute = started.classifier(started.data())
    assert substitute.class_names == tuple("0123456789")
    mean, _ = started.data().train.channel_statistics()
    assert substitute.config["mean"] == pytest.approx(list(mean))


def test_what_a_run_was_trained_on_is_known_from_its_folder(tmp_path):
    assert training_images(finished()).fingerprint() == run(finished()).data().train.fingerprint()
    attacker = run(tmp_path / "run", data={"role": "attacker"}).data()
    assert training_images(tmp_path / "run").fingerprint() == attacker.train.fingerprint()
    assert training_images(tmp_path) is None


def test_an_attacker_without_images_leaves_the_folder_alone(tmp_path):
    with pytest.raises(InputError, match="no images are left for an attacker"):
        run(tmp_path / "run", data={"role": "attacker", "train_limit": None, "test_limit": None}).data()
    assert not (tmp_path / "run").exists()


def test_checkpoints_know_their_classes():
    assert load(finished() / "classifier.safetensors").class_names == tuple("0123456789")


def test_the_environment_names_the_seed():
    content = json.loads((finished() / "environment.json").read_text())
    assert content["seed"] == recipe().seed


@pytest.mark.parametrize("name", ["evaluation.json", "history.jsonl"])
def test_a_damaged_result_is_named(copied, name):
    (copied / name).write_text('{"half":')
    (copied / "purifier.safetensors").unlink()
    with pytest.raises(InputError, match=rf"{name}: .*delete it"):
        run(copied)()


def test_what_a_killed_write_left_is_swept_up(copied):
    left = copied / "checkpoint" / ".classifier.safetensors.4194305.x1y2z3ab.part"
    left.write_bytes(b"half")
    run(copied).data()
    assert not left.exists()


def test_a_run_killed_at_its_first_write_goes_on(tmp_path):
    (tmp_path / ".recipe.yaml.4194305.x1y2z3ab.part").write_text("seed:")
    run(tmp_path).data()
    assert [path.name for path in tmp_path.iterdir()] == ["recipe.yaml"]


def test_a_given_classifier_joins_the_run_and_only_that_one(tmp_path):
    given = load(finished() / "classifier.safetensors")
    started = run(tmp_path / "run")
    started.data()
    assert started.adopt(given) is given
    kept = load(tmp_path / "run" / "classifier.safetensors")
    assert all(torch.equal(value, given.state_dict()[key]) for key, value in kept.state_dict().items())
    assert started.adopt(load(finished() / "classifier.safetensors")) is not None
    with torch.no_grad():
        given.readout.bias += 1
    with pytest.raises(InputError, match="another classifier"):
        started.adopt(given)


@pytest.mark.parametrize("place", ["gone/classifier.safetensors", "gone"])
def test_a_run_with_a_given_classifier_may_be_moved(tmp_path, place):
    """The folder keeps a copy of the classifier that its recipe names by a path."""
    shutil.copytree(finished(), tmp_path / "run")
    path = tmp_path / "run" / "recipe.yaml"
    path.write_text(recipe(classifier={"source": str(tmp_path / place)}).to_yaml())
    shutil.move(tmp_path / "run", tmp_path / "moved")
    expected = load(finished()).state_dict()
    for model in (resolve(str(tmp_path / "moved")), load(tmp_path / "moved")):
        assert isinstance(model, Defended)
        assert all(torch.equal(value, expected[key]) for key, value in model.state_dict().items())


def test_other_runs_stand_beside_in_the_report(copied, computed, monkeypatch):
    """Part of the report, not of the recipe: given later, or no more, nothing is computed again."""
    monkeypatch.setattr(section, "png", lambda figure: b"")
    monkeypatch.setattr(section, "svg", lambda figure, name: f"<svg {name}>")
    other = Evaluation.read(finished() / "evaluation.json")
    evaluation, page = run(copied)({"other": other})
    comparison = Comparison.read(copied / "comparison.json")
    assert [each.name for each in comparison.models] == ["bare classifier", "other", "run"]
    eps = evaluation.budgets[0]
    for model in comparison.models[1:]:
        assert model.worst == evaluation.worst_score(eps, "adaptive")
        assert model.clean == evaluation.clean.defended
    assert 'id="comparison"' in page.read_text()
    run(copied)()
    assert not (copied / "comparison.json").exists() and 'id="comparison"' not in page.read_text()
    assert computed == []


@pytest.mark.parametrize(
    ("sections", "difference"),
    [
        ({"seed": 4}, r"measured on others of the 20 digits test images"),
        ({"evaluation": {"images": 10}}, r"20 digits test images, this one on 10 digits"),
        ({"evaluation": {"eps": ["8/255"]}}, r"at L∞, eps 16/255, this one at L∞, eps 8/255"),
    ],
)
def test_what_cannot_be_compared_is_refused_before_anything_is_trained(
    tmp_path, computed, sections, difference
):
    other = Evaluation.read(finished() / "evaluation.json")
    with pytest.raises(InputError, match=difference):
        run(tmp_path / "new", **sections)({"other": other})
    assert computed == []


def test_a_finished_run_keeps_its_origin(copied):
    before = (copied / "environment.json").read_bytes()
    run(copied)()
    assert (copied / "environment.json").read_bytes() == before


def test_a_purifier_belongs_to_its_classifier(copied):
    """The classifier's weights, not its architecture, decide."""
    started = run(copied)
    data, other = started.data(), load(copied / "classifier.safetensors")
    before = files(copied)
    started.purifier(data, other)
    with torch.no_grad():
        other.readout.bias += 1
    with pytest.raises(InputError, match=r"purifier\.safetensors: .*the weights of the classifier"):
        started.purifier(data, other)
    with pytest.raises(InputError, match=r"purifier\.safetensors: .*classifier\.settings"):
        started.purifier(data, torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3072, 10)))
    (copied / "purifier.safetensors").unlink()
    with pytest.raises(InputError, match=r"checkpoint/purifier\.safetensors: .*weights of the classifier"):
        started.purifier(data, other)
    assert files(copied).keys() | {"purifier.safetensors"} == before.keys()


@pytest.mark.parametrize("stage", ["classifier", "purifier"])
def test_a_trained_file_belongs_to_its_data_and_recipe(copied, stage):
    started = run(copied)
    data = started.data()
    other = load_data("digits")
    classifier = load(copied / "classifier.safetensors")
    arguments = {"classifier": (), "purifier": (classifier,)}[stage]
    with pytest.raises(InputError, match=rf"{stage}\.safetensors: .*differs in data"):
        getattr(started, stage)(other, *arguments)
    changed = recipe(**{stage: {"learning_rate": 0.5}})
    (copied / "recipe.yaml").write_text(changed.to_yaml())
    with pytest.raises(InputError, match=rf"{stage}\.safetensors: .*differs in recipe\.learning_rate"):
        getattr(Run(changed, copied, accelerator(device="cpu")), stage)(data, *arguments)


def test_an_evaluation_belongs_to_its_weights(copied):
    started = run(copied)
    data, model = started.data(), resolve(str(copied))
    assert started.evaluation(data, model).content == json.loads((copied / "evaluation.json").read_text())
    with torch.no_grad():
        model.classifier.readout.bias += 1
    with pytest.raises(InputError, match=r"evaluation\.json: .*differs in classifier"):
        started.evaluation(data, model)


def test_files_of_earlier_versions_name_no_origin_and_are_taken(copied):
    for name in ("classifier", "purifier"):
        save(load(copied / f"{name}.safetensors"), copied / f"{name}.safetensors")
    run(copied)()
