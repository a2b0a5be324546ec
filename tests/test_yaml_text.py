"""YAML of others: bounded work, one clear line."""

import pytest

from purespike import InputError
from purespike.recipe import load_recipe, parse_recipe
from purespike.yaml_text import MAX_BYTES, parse_yaml, read_yaml

BOMB = "a0: &a0 [x, x]\n" + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 10))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: 1\na: 2", r"'a' is given twice \(line 2\)"),
        ("a: {b: 1, b: 2}", "'b' is given twice"),
        (BOMB, "aliases make more than 100,000 values"),
        ("a: &a [*a]", "aliases make more"),
        ("[" * 100_000, "nested more than 64 levels"),
        ("x" * (MAX_BYTES + 1), "longer than 1,000,000 characters"),
        ("seed: 2020-99-99", "not YAML"),
        ("seed: !!int abc", "not YAML"),
        (f"seed: {'9' * 5000}", "not YAML"),
        ("a: [", "not YAML"),
        ("a: !!python/object:os.system x", "not YAML"),
        ("{[1]: 2}", "not YAML"),
    ],
    ids=lambda value: value[:20],
)
def test_what_cannot_be_used_is_one_short_line(text, says, tmp_path):
    with pytest.raises(InputError, match=says) as found:
        parse_yaml(text)
    assert len(str(found.value)) < 400 and "\n" not in str(found.value)
    path = tmp_path / "r.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=r"r\.yaml: "):
        read_yaml(path)


def test_plain_values_and_aliases_are_read():
    assert parse_yaml("") is None
    assert parse_yaml("a: &x [1, 2.5, 8/255]\nb: *x\nc: {<<: {d: 1}, e: null}") == {
        "a": [1, 2.5, "8/255"],
        "b": [1, 2.5, "8/255"],
        "c": {"d": 1, "e": None},
    }


def test_a_device_is_no_recipe():
    with pytest.raises(InputError, match="not a file"):
        load_recipe("/dev/zero")


@pytest.mark.parametrize(
    ("values", "place"),
    [
        ({"seed": 10**38}, "seed"),
        ({"seed": 16**9000}, "seed"),
        ({"classifier": {"width": 1e9}}, "classifier.width"),
        ({"purifier": {"width": float("inf")}}, "purifier.width"),
        ({"classifier": {"time_steps": 10**9}}, "classifier.time_steps"),
        ({"classifier": {"learning_rate": float("inf")}}, "classifier.learning_rate"),
        ({"classifier": {"thresholds": [0.5] * 100_000}}, "classifier.thresholds"),
        ({"classifier": {"epochs": 10**30}}, "classifier.epochs"),
        ({"classifier": {"schedule": {"decay_factor": float("inf")}}}, "decay_factor"),
        ({"classifier": {"milestones": [80, 40]}}, "milestones: must ascend"),
        ({"classifier": {"milestones": [80, 80]}}, "milestones: must ascend"),
        ({"purifier": {"crop_padding": 10**9}}, "purifier.crop_padding"),
        ({"evaluation": {"eps": ["1e999999999"]}}, "evaluation.eps"),
        ({"evaluation": {"eps": ["9" * 100_000 + "/255"]}}, "evaluation.eps"),
        ({"data": {"source": ["x"] * 100_000}}, "data.source"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_work_without_bound_is_refused(values, place):
    with pytest.raises(InputError, match=place) as found:
        parse_recipe(values)
    assert len(str(found.value)) < 400


@pytest.mark.parametrize("text", ["seed: 12:30:45", "rate: 1:30.5", "[1, 1:10]"])
def test_numbers_to_the_base_60_are_refused(text):
    with pytest.raises(InputError, match="is no number; quote it if it is text"):
        parse_yaml(text)
    assert parse_yaml("time: '12:30'") == {"time": "12:30"}
