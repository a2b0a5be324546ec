"""The reference of recipes says what recipes do: its defaults, ranges and names are tried on recipes."""

import re
import subprocess
import sys

import pytest
import yaml
from pydantic import BaseModel

from purespike import InputError
from purespike.attacks import create_attack
from purespike.attacks.registry import list_attacks
from purespike.models.coding import Coding
from purespike.models.registry import create, list_models
from purespike.neurons import Dynamics, Surrogate
from purespike.optimisation import OPTIMISERS, SCHEDULES
from purespike.recipe import Recipe, parse_recipe
from purespike.reference import find, recipe_keys
from purespike.reference.docstring import arguments, plain
from purespike.reference.kinds import kind, limits, written
from purespike.reference.registered import chapter
from purespike.reference.titles import TITLES
from purespike.settings import EvaluationSettings
from purespike.training.objectives.registry import STAGES, entries

KEYS = recipe_keys()
PRESENT = {place: key for place, key in KEYS.items() if key.kind}


def at(place, value):
    section, dot, name = place.rpartition(".")
    return {section: {name: value}} if dot else {name: value}


def test_every_key_of_every_section_is_told():
    for name, field in Recipe.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            for inner in field.annotation.model_fields:
                assert KEYS[f"{name}.{inner}"].about
        else:
            assert KEYS[name].about


@pytest.mark.parametrize("place", PRESENT)
def test_a_default_written_out_changes_nothing(place):
    assert parse_recipe(at(place, yaml.safe_load(KEYS[place].default))) == Recipe()


@pytest.mark.parametrize("place", [place for place, key in PRESENT.items() if key.limits])
def test_a_range_is_where_values_are_refused(place):
    key = PRESENT[place]
    several = key.kind.startswith("list")
    for bound, open_, below in edges(key.limits):
        whole = "whole" in key.kind
        step = 1 if whole else 1e-6 * max(abs(bound), 1)
        inside, outside = (bound + step, bound - step) if below else (bound - step, bound + step)
        for value, right in ((bound, not open_), (inside, True), (outside, False)):
            value = int(value) if whole else value
            given = at(place, [value] if several else value)
            if place == "data.defender_seed":
                given["data"]["role"] = "attacker"
            if place == "classifier.care":
                given["classifier"]["objective"] = ["care"]
            if right:
                parse_recipe(given)
            else:
                with pytest.raises(InputError, match=place.rpartition(".")[2]):
                    parse_recipe(given)


def edges(text):
    """Bounds of an interval as (number, whether it is left out, whether it is the lower one)."""
    if match := re.fullmatch(r"([\[(])(\S+), (\S+)([\])])", text):
        low, high = (float(match[index].replace(",", "")) for index in (2, 3))
        return [(low, match[1] == "(", True), (high, match[4] == ")", False)]
    sign, number = text.split()
    return [(float(number.replace(",", "")), sign in "<>", sign in "≥>")]


@pytest.mark.parametrize("place", [place for place, key in PRESENT.items() if " | " in key.kind])
def test_every_choice_is_accepted_and_no_other(place):
    for choice in PRESENT[place].kind.split(" | "):
        parse_recipe(at(place, choice))
    with pytest.raises(InputError):
        parse_recipe(at(place, "nothing of these"))


def test_former_and_other_names_are_told_and_work():
    assert "adversarial" in KEYS["classifier.objective"].others
    assert set(KEYS["evaluation.threats"].others) == {"threat"}
    assert "classifier.schedule.milestones" in KEYS["classifier.milestones"].about
    for key in PRESENT.values():
        for other in key.others:
            section = key.place.partition(".")[0]
            value = yaml.safe_load(key.default)
            assert parse_recipe({section: {other: value}}) == Recipe()


@pytest.mark.parametrize(
    ("name", "family"), [("codings", Coding), ("dynamics", Dynamics), ("surrogates", Surrogate)]
)
def test_written_names_with_their_defaults_are_what_the_name_alone_is(name, family):
    topics = {topic.name: topic for topic in chapter(name).topics}
    assert topics.keys() == family.known.keys()
    for topic in topics.values():
        settings = ", ".join(f"{key.place}={key.default}" for key in topic.keys)
        assert family.parse(f"{topic.name}({settings})") == family.parse(topic.name)


def test_attacks_with_their_defaults_are_what_the_name_alone_is():
    topics = {topic.name: topic for topic in chapter("attacks").topics}
    assert sorted(topics) == list_attacks()
    for name, topic in topics.items():
        settings = {key.place: yaml.safe_load(key.default) for key in topic.keys}
        assert create_attack(name, **settings) == create_attack(name)


@pytest.mark.parametrize("stage", STAGES)
def test_parts_of_an_objective_take_the_settings_that_are_told(stage):
    names = {"classifier": ("objectives",), "purifier": ("purifier-objectives",)}[stage]
    told = {
        topic.name: topic for name in (*names, "penalties", "projections") for topic in chapter(name).topics
    }
    for name, entry in entries(stage).items():
        keys, fields = told[name].keys, entry.settings.model_fields
        assert [key.place for key in keys] == list(fields)
        assert {key.place for key in keys if not key.default} == {
            name for name, field in fields.items() if field.is_required()
        }
        # what must be given is the training of an ANN
        settings = {key.place: yaml.safe_load(key.default or "{epochs: 1}") for key in keys}
        settings = {key: value for key, value in settings.items() if value is not None}
        entry.create(settings, place="objective")


def test_schedules_optimisers_and_networks_are_all_told():
    assert [topic.name for topic in chapter("schedules").topics] == [each().name for each in SCHEDULES]
    assert [topic.name for topic in chapter("optimisers").topics] == [each().name for each in OPTIMISERS]
    networks = {topic.name: topic.about for topic in chapter("architectures").topics}
    assert sorted(networks) == list_models()
    parameters = sum(parameter.numel() for parameter in create("vgg11_snn").parameters())
    assert f"{parameters:,}" in networks["vgg11_snn"]


def test_a_name_is_found_wherever_it_means_something():
    assert [heading for heading, _ in find("pgd")] == ["Objectives of the classifier", "Attacks"]
    assert [topic.name for _, topic in find("epochs")] == ["classifier.epochs", "purifier.epochs"]
    assert [topic.name for _, topic in find("classifier")] == ["classifier"]
    assert [topic.name for _, topic in find("classifier.schedule.milestones")] == ["classifier.schedule"]
    assert {topic.name for _, topic in find("schedules")} >= {"constant", "cosine"}
    with pytest.raises(InputError, match="'swich_epoch'; did you mean switch_epoch"):
        find("swich_epoch")


def test_a_setting_of_an_evaluation_is_told_with_its_help():
    for name, field in EvaluationSettings.model_fields.items():
        assert KEYS[f"evaluation.{name}"].about == plain(field.description)


def test_types_and_defaults_in_words():
    assert kind(tuple[int, ...] | None) == "list of whole numbers, or null"
    assert kind(float | str) == "number, also as text such as 8/255"
    assert kind(tuple[float, float]) == "list of 2 numbers"
    assert (limits(int), limits(float | None)) == ("", "")
    assert (written(8 / 255), written(1e-4), written((1, 2)), written(None)) == (
        *("8/255", "0.0001", "[1, 2]", "null"),
    )
    assert arguments(
        "A.\n\nArgs:\n    width: a ``b`` of\n        :class:`~c.d`.\n    n: two.\n\nRaises:\n    E: no."
    ) == {
        "width": "A `b` of `d`.",
        "n": "Two.",
    }


def test_the_command_tells_everything_and_every_setting_has_a_meaning():
    # in a process of its own: other tests register things of theirs
    done = subprocess.run(
        [sys.executable, "-m", "purespike", "recipe", "--markdown"],
        capture_output=True,
        text=True,
        check=True,
    )
    page = done.stdout
    for title in TITLES.values():
        assert f"\n## {title}\n" in page
    rows = [re.split(r"(?<!\\)\|", line)[1:-1] for line in page.splitlines() if line.startswith("| `")]
    assert len(rows) > 300
    assert all(row[-1].strip() for row in rows), [row for row in rows if not row[-1].strip()]
