"""Other names of keys and other spellings of sections, in a file and in ``--set``, mean the same recipe."""

import pytest
import yaml

from purespike import InputError
from purespike.recipe import Recipe, load_recipe, parse_recipe
from purespike.run_folder import check_owner

FORMER = {
    "adversarial": ("pgd", {"objective": [{"name": "pgd"}]}),
    "momentum": (0.5, {"optimiser": {"momentum": 0.5}}),
    "weight_decay": (5e-4, {"optimiser": {"name": "sgd", "weight_decay": 5e-4}}),
    "milestones": ([3], {"schedule": {"milestones": [3]}}),
    "decay_factor": (0.5, {"schedule": {"decay_factor": 0.5}}),
}


@pytest.mark.parametrize("key", FORMER)
def test_a_former_key_means_the_present_one(key, tmp_path):
    value, present = FORMER[key]
    former = parse_recipe({"classifier": {key: value}})
    assert former == parse_recipe({"classifier": present}) != Recipe()
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump({"classifier": {key: value}}))
    check_owner(former, tmp_path)
    (tmp_path / "recipe.yaml").write_text(former.to_yaml())
    check_owner(parse_recipe({"classifier": {key: value}}), tmp_path)


def test_a_former_key_beside_the_present_one_is_refused(tmp_path):
    values = {"adversarial": "pgd", "objective": "none"}
    with pytest.raises(InputError, match=r"classifier: .*adversarial is the former name of objective"):
        parse_recipe({"classifier": values})
    (tmp_path / "r.yaml").write_text(yaml.safe_dump({"classifier": values}))
    with pytest.raises(InputError, match=r"r\.yaml: classifier: adversarial is the former name"):
        load_recipe(tmp_path / "r.yaml")


@pytest.mark.parametrize(
    ("text", "overrides", "same"),
    [
        (
            "classifier: {adversarial: {name: pgd}}",
            ["classifier.adversarial.steps=3"],
            {"classifier": {"objective": {"name": "pgd", "steps": 3}}},
        ),
        (
            "classifier: {adversarial: pgd}",
            ["classifier.objective.steps=3"],
            {"classifier": {"objective": {"name": "pgd", "steps": 3}}},
        ),
        (
            "{}",
            ["classifier={adversarial: fgsm}", "classifier.adversarial.eps=0.1"],
            {"classifier": {"objective": {"name": "fgsm", "eps": 0.1}}},
        ),
        (
            "classifier: {optimiser: adamw}",
            ["classifier.weight_decay=.3", "classifier.optimiser.eps=.2"],
            {"classifier": {"optimiser": {"name": "adamw", "weight_decay": 0.3, "eps": 0.2}}},
        ),
        (
            "purifier: {optimiser: sgd, schedule: cosine}",
            ["purifier.optimiser.momentum=.3", "purifier.schedule.final=.1"],
            {
                "purifier": {
                    "optimiser": {"name": "sgd", "momentum": 0.3},
                    "schedule": {"name": "cosine", "final": 0.1},
                }
            },
        ),
        (
            "classifier: {schedule: milestones}",
            ["classifier.milestones=[3]"],
            {"classifier": {"schedule": {"milestones": [3]}}},
        ),
        (
            "evaluation: {threats: [oblivious]}",
            ["evaluation.threat=bpda"],
            {"evaluation": {"threats": ["bpda"]}},
        ),
        (
            "evaluation: {threat: oblivious}",
            ["evaluation.threats=bpda"],
            {"evaluation": {"threats": ["bpda"]}},
        ),
        (
            "evaluation: {thresholds: {gain: 0.2}}",
            ["evaluation.limits.planted=.5"],
            {"evaluation": {"thresholds": {"gain": 0.2, "planted": 0.5}}},
        ),
        (
            "evaluation: {curve: 'pgd:steps=9:eot=2'}",
            ["evaluation.curve.steps=3"],
            {"evaluation": {"curve": {"name": "pgd", "steps": 3, "eot": 2}}},
        ),
        (
            "{classifier: {optimiser: &one {name: adamw}}, purifier: {optimiser: *one}}",
            ["purifier.optimiser.eps=.2"],
            {
                "classifier": {"optimiser": {"name": "adamw"}},
                "purifier": {"optimiser": {"name": "adamw", "eps": 0.2}},
            },
        ),
    ],
)
def test_an_override_finds_its_key_however_the_recipe_spells_it(text, overrides, same, tmp_path):
    (tmp_path / "r.yaml").write_text(text)
    assert load_recipe(tmp_path / "r.yaml", overrides) == parse_recipe(same)


def test_two_spellings_of_a_setting_are_refused(tmp_path):
    (tmp_path / "r.yaml").write_text("evaluation: {threat: bpda, threats: [adaptive]}")
    with pytest.raises(InputError, match=r"evaluation: threat is another name of threats: give only one"):
        load_recipe(tmp_path / "r.yaml")


@pytest.mark.parametrize(
    ("text", "override", "says"),
    [
        (
            "classifier: {objective: [pgd, max_norm]}",
            "classifier.objective.steps=3",
            r"\['pgd', 'max_norm'\]",
        ),
        ("classifier: {surrogate: atan}", "classifier.surrogate.alpha=3", "'atan'"),
        ("classifier: {optimiser: 3}", "classifier.momentum=.3", "but 3"),
    ],
)
def test_a_value_without_keys_takes_none(text, override, says, tmp_path):
    (tmp_path / "r.yaml").write_text(text)
    with pytest.raises(InputError, match=rf"--set {override.partition('=')[0]}: .* is not a section.*{says}"):
        load_recipe(tmp_path / "r.yaml", [override])
