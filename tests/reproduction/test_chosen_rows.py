"""Names of rows that a user gives."""

import pytest

from purespike.errors import InputError
from purespike.reproduction.chosen_rows import chosen_rows

KNOWN = ["plain", "PGD-AT, 2/255", "TRADES"]


def test_names_may_hold_commas_and_commas_separate_names():
    assert chosen_rows([], KNOWN) == KNOWN
    assert chosen_rows(["PGD-AT, 2/255", "plain,TRADES", "plain"], KNOWN) == [KNOWN[1], "plain", "TRADES"]
    assert chosen_rows(["TRADES,PGD-AT,2/255,plain"], KNOWN) == ["TRADES", KNOWN[1], "plain"]


@pytest.mark.parametrize("given", ["", ","])
def test_rows_that_name_none_are_not_all(given):
    with pytest.raises(InputError, match="rows: names no row"):
        chosen_rows([given], KNOWN)


def test_an_unknown_row_is_named_with_the_nearest():
    with pytest.raises(InputError, match="unknown row 'plan': did you mean 'plain'"):
        chosen_rows(["TRADES,plan"], KNOWN)
