"""Purifiers trained through the whole and their rivals, on a scale that takes seconds."""

import json

import pytest
import torch
import yaml

from purespike.errors import InputError
from purespike.models import Defended
from purespike.reproduction import load_scale, reproduce
from purespike.reproduction.context import ExperimentContext
from purespike.reproduction.experiments.holding import holder
from purespike.reproduction.hardest import Survivors
from purespike.reproduction.registry import check_experiments
from purespike.reproduction.rivals import changed
from purespike.tensors import read_tensors
from purespike.training.engine import accelerator
from reproduction.tiny import TINY

METHODS = ["classifier", "paper's purifier", "control", "holding purifier", "control, holding purifier"]


@pytest.fixture(scope="module")
def context(tmp_path_factory):
    folder = tmp_path_factory.mktemp("holding")
    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump(TINY))
    return ExperimentContext(load_scale(str(path)), folder / "out", accelerator(device="cpu"))


@pytest.fixture(scope="module")
def rows(context):
    folder = reproduce("holding", context, origin={"name": "tiny"})
    content = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    return {row["method"]: row["cells"] for row in content["rows"]}


def test_all_rivals_meet_the_same_attackers(rows):
    assert list(rows) == METHODS
    for method, cells in rows.items():
        shares = [cell["mean"] for cell in cells.values() if cell["threat"]]
        worst = cells["Worst of all|adaptive"]["mean"]
        assert worst <= min(shares) and cells["Clean|"]["n"] == 16
        gap = 100 * (cells["PGD-20, own surrogate|adaptive"]["mean"] - worst)
        assert cells["gap|"]["mean"] == pytest.approx(gap)
        assert cells["multiplications|"]["mean"] > 1 if "purifier" in method else True
    assert rows["classifier"]["multiplications|"]["mean"] == 1


def test_a_finished_row_is_kept_until_what_is_asked_changes(context, rows, monkeypatch):
    """Also where the code changed, of which the commits tell."""
    from purespike.reproduction.experiments import holding

    measured = []

    def measure(context, dataset, models, **settings):
        measured.append(dataset)
        raise InputError("again")

    monkeypatch.setattr(holding, "measure_defence", measure)
    assert [row.cells for row in holding.holding(context).rows] and not measured
    part = context.scale.holding["mnist"].model_copy(update={"eps": "1/255"})
    other = context.scale.model_copy(update={"holding": {"mnist": part}})
    with pytest.raises(InputError, match="again"):
        holding.holding(ExperimentContext(other, context.folder, context.accelerator))
    assert measured == ["mnist"]


def test_passes_are_those_of_every_stage(rows):
    # 64 images: of each two batches one pass of the classifier, or an FGSM step and one
    passes = {method: 1000 * cells["passes|"]["mean"] for method, cells in rows.items()}
    assert passes["classifier"] == 64 and passes["control"] == 2 * 64
    assert passes["paper's purifier"] == 64 + 64
    assert passes["holding purifier"] - passes["classifier"] == pytest.approx(
        passes["control, holding purifier"] - passes["control"]
    )


def test_the_purifier_stands_before_the_plain_classifier_or_before_the_control(context, rows):
    assert rows
    models = context.folder / "models" / "mnist"

    def weights(run):
        return read_tensors(models / run / "seed0" / "classifier.safetensors")[0]

    def same(one, other):
        return all(torch.equal(weights(one)[name], value) for name, value in weights(other).items())

    assert not same("plain", "control")
    assert same("holding", "plain") and same("holding-before-the-control", "control")
    assert isinstance(holder(context, "mnist"), Defended)
    outputs = [
        yaml.safe_load((models / run / "seed0" / "recipe.yaml").read_text())["purifier"]["output"]
        for run in ("holding", "holding-before-the-control")
    ]
    assert outputs == ["reconstruction", "gated"]


def test_what_one_attack_breaks_stays_broken(context):
    model = holder(context, "mnist")
    left = Survivors(context, "mnist", model, eps="16/255", seed=0)
    first = left.meet([{"name": "pgd", "steps": 2}], "adaptive", surrogates=("rectangle",))
    assert (left.robust == first).all()
    second = left.meet([{"name": "fgsm"}], "oblivious")
    assert (left.robust == first & second).all()


def test_the_ablation_changes_one_choice_before_the_same_classifier(context):
    folder = reproduce("holding-ablation", context, origin={"name": "tiny"})
    content = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    assert [row["method"] for row in content["rows"]] == ["as it is", "residual"]
    recipes = [
        yaml.safe_load((context.place("mnist", f"holding {name}") / "recipe.yaml").read_text())["purifier"]
        for name in ("as it is", "residual")
    ]
    assert [recipe["output"] for recipe in recipes] == ["reconstruction", "residual"]
    assert [recipe["batch_size"] for recipe in recipes] == [64, 64]
    assert recipes[0]["start"] is None
    assert recipes[1]["start"] == str(context.place("mnist", "plain") / "purifier.safetensors")


def test_a_purifier_may_see_other_images_than_the_classifier_before_it(tmp_path):
    part = TINY["holding"]["mnist"]
    own = {**part, "purifier": changed(part["purifier"], {"data": {"train_limit": 48}})}
    path = tmp_path / "own.yaml"
    path.write_text(yaml.safe_dump({**TINY, "holding": {"mnist": own}}))
    other = ExperimentContext(load_scale(str(path)), tmp_path / "out", accelerator(device="cpu"))
    holder(other, "mnist")
    assert other.passes("mnist", "plain", "classifier") == 64
    # a batch denoises; then an attack of one step, what the classifier says, and a pass
    assert other.passes("mnist", "holding", "purifier") == 32 + 3 * (48 - 32)
    assert len(other.data("mnist").train) == 64


def test_they_are_not_among_the_experiments_of_the_paper():
    assert not {"holding", "holding-ablation"} & set(check_experiments(["all"]))
    assert check_experiments(["all", "holding"])[-1] == "holding"
    assert check_experiments(["holding"]) == ["holding"]


def test_a_scale_without_them_says_so(tmp_path):
    path = tmp_path / "own.yaml"
    path.write_text(yaml.safe_dump({**TINY, "holding": {}}))
    other = ExperimentContext(load_scale(str(path)), tmp_path / "out", accelerator(device="cpu"))
    with pytest.raises(InputError, match="names no purifier trained through the whole"):
        reproduce("holding", other, origin={})
    path.write_text(
        yaml.safe_dump(
            {**TINY, "holding": {"mnist": {"eps": "1/255", "control": {}, "purifier": {"width": 1}}}}
        )
    )
    with pytest.raises(InputError, match="holding, mnist, purifier: unknown recipe key 'width'"):
        load_scale(str(path))
