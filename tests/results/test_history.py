"""Rows of training are read as they were written; a damaged file is refused."""

import json
from pathlib import Path

import pytest

from purespike.errors import InputError
from purespike.results import read_history

COMMITTED = sorted((Path(__file__).parents[2] / "results").rglob("history.jsonl"))


def test_committed_rows_are_written_as_they_were_read():
    assert len(COMMITTED) >= 6
    for path in COMMITTED:
        text = "".join(json.dumps(row.to_json()) + "\n" for row in read_history(path))
        assert text == path.read_text(encoding="utf-8")


def test_values_and_rates_are_those_of_the_file():
    path = next(path for path in COMMITTED if path.parent.name == "digits")
    first, second, *_ = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    rows = read_history(path)
    assert rows[0].firing_rates == first["firing_rates"] and rows[1].firing_rates == {}
    assert rows[1].value("loss") == second["loss"] and rows[0].value("loss") is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("]: {", "line 1: Expecting value"),
        ('{"stage": "classifier", "epoch": 0}\n\n[1]', "line 3: Input should be a valid dictionary"),
        ('{"stage": "classifier"}', "line 1: epoch: is missing"),
        ('{"stage": "classifier", "epoch": "one"}', "line 1: epoch: .*got 'one'"),
        ("\xff", "cannot be read"),
    ],
)
def test_a_damaged_file_is_refused(text, message, tmp_path):
    path = tmp_path / "history.jsonl"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(InputError, match=message) as caught:
        read_history(path)
    assert "history.jsonl" in str(caught.value) and "\n" not in str(caught.value)


def test_no_file_is_no_history(tmp_path):
    assert read_history(tmp_path / "history.jsonl") == []
