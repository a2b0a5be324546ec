import pytest
from hypothesis import given
from hypothesis import strategies as st

from purespike.errors import InputError, unknown

KNOWN = ["fgsm", "ifgsm", "pgd", "gaussian"]


@pytest.mark.parametrize(
    ("name", "near"), [("fgms", "fgsm"), ("i-fgsm", "ifgsm"), ("pdg", "pgd"), ("gausian", "gaussian")]
)
def test_names_the_nearest(name, near):
    error = unknown("attack", name, KNOWN)
    assert isinstance(error, InputError)
    assert str(error) == f"unknown attack {name!r}: did you mean {near!r}? known: fgsm, gaussian, ifgsm, pgd"


def test_no_guess_where_nothing_is_near():
    assert str(unknown("attack", "zzz", KNOWN)) == "unknown attack 'zzz': known: fgsm, gaussian, ifgsm, pgd"


@given(st.text(max_size=20))
def test_is_one_line(name):
    assert len(str(unknown("attack", name, iter(KNOWN))).splitlines()) == 1
