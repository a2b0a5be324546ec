"""The packaged scales are whole, and changes reach the recipe."""

import pytest

from purespike.errors import InputError
from purespike.reproduction import SCALES, load_scale
from purespike.reproduction.scale import changed, parse_sources


@pytest.mark.parametrize("name", SCALES)
def test_every_scale_has_what_the_experiments_ask_for(name):
    scale = load_scale(name)
    assert {"mnist", "cifar10", "cifar100", "svhn"} <= set(scale.recipes)
    assert set(scale.holding) <= set(scale.recipes)
    assert {"k1", "k2", "k3", "k4", "ols", "fgsm_at", "pgd_at", "wideresnet", "resnet20"} <= set(
        scale.variants
    )
    assert scale.ablations["default"] == {}
    for variant in scale.variants:
        for dataset in scale.recipes:
            assert scale.recipe(dataset, variant).data.source == dataset


def test_the_paper_s_scale_is_the_paper_s():
    scale = load_scale("paper")
    recipe = scale.recipe("cifar10")
    assert (recipe.classifier.epochs, recipe.classifier.batch_size) == (150, 256)
    assert (recipe.purifier.epochs, recipe.purifier.batch_size, recipe.purifier.learning_rate) == (
        200,
        128,
        1e-4,
    )
    assert scale.recipe("svhn").classifier.schedule.milestones == (25, 35)
    assert scale.recipe("cifar10", "ols").classifier.smoothing == "ols"


def test_a_mapping_with_a_name_is_replaced_and_others_are_merged():
    values = {"a": {"x": 1, "attack": {"name": "pgd", "steps": 7}}, "b": 2}
    changes = {"a": {"y": 3, "attack": {"name": "fgsm"}}}
    assert changed(values, changes) == {"a": {"x": 1, "y": 3, "attack": {"name": "fgsm"}}, "b": 2}
    assert values["a"]["attack"]["name"] == "pgd"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("about: x\n", "images: is missing"),
        ("- a\n", "scale"),
        ("a: [", "not YAML"),
    ],
)
def test_a_damaged_file_is_one_line(tmp_path, text, message):
    path = tmp_path / "own.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        load_scale(str(path))


def test_unknown_names():
    with pytest.raises(InputError, match="did you mean 'cpu'"):
        load_scale("cp")
    scale = load_scale("cpu")
    with pytest.raises(InputError, match="unknown variant"):
        scale.recipe("cifar10", "olss")
    with pytest.raises(InputError, match="unknown data set"):
        scale.recipe("cifar11")
    with pytest.raises(InputError, match="write SET=SOURCE"):
        parse_sources(["cifar10"], scale)
    assert parse_sources(["cifar10=npz:a/b"], scale) == {"cifar10": "npz:a/b"}
