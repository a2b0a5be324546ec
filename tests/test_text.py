"""Attacks and lists as text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from purespike import InputError
from purespike.settings import EvaluationSettings
from purespike.text import parse_attack, parse_attacks, split

LISTS = st.lists(st.integers(0, 9), min_size=1, max_size=3)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("a, b", ["a", "b"]),
        ("atan(alpha=2, beta=3), bptr", ["atan(alpha=2, beta=3)", "bptr"]),
        ("own(sizes=[1, 2], rate=(3, 4)), b", ["own(sizes=[1, 2], rate=(3, 4))", "b"]),
        ("a:b=[x,y],c", ["a:b=[x,y]", "c"]),
        ("a:b={x: 1, y: 2},c", ["a:b={x: 1, y: 2}", "c"]),
        (" ,a,,b, ", ["a", "b"]),
        ("a=),b", ["a=)", "b"]),
        ("", []),
    ],
)
def test_commas_inside_brackets_separate_no_parts(text, parts):
    assert split(text) == parts


@given(st.lists(st.tuples(st.sampled_from(["pgd", "own"]), LISTS), min_size=1, max_size=3))
def test_lists_are_values_of_settings(attacks):
    text = ",".join(f"{name}:parts={parts}:steps=3" for name, parts in attacks)
    assert parse_attacks(text) == [{"name": name, "parts": parts, "steps": 3} for name, parts in attacks]


def test_colons_inside_brackets_separate_no_settings():
    assert parse_attack("own:a={x: 1}:b=[square,fab]") == {
        "name": "own",
        "a": {"x": 1},
        "b": ["square", "fab"],
    }
    with pytest.raises(InputError, match="write settings as name:key=value"):
        parse_attack("pgd::steps=3")


@pytest.mark.parametrize("text", ["pgd:steps=3,fgsm", "pgd,fgsm", "pgd:steps=3,"])
def test_a_curve_is_of_one_attack(text):
    with pytest.raises(InputError, match=r"curve: .*one attack belongs here; a comma separates several"):
        EvaluationSettings.of(curve=text)
