"""``purespike check``."""

import json

import pytest
from typer.testing import CliRunner

from purespike.cli import app

TABLE = """\
name,clean,training,FGSM@8/255,PGD-20@8/255,AA@8/255
good,80,adversarial,55,50,48
bad,84,clean,71.1,70.7,46.1
"""


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text(TABLE)
    return path


def test_it_prints_each_row_and_the_questions(table):
    ended = CliRunner().invoke(app, ["check", str(table)])
    assert ended.exit_code == 0
    lines = ended.stdout.splitlines()
    assert "good: no contradiction" in lines
    assert "bad: suspicious" in lines
    assert any(line.startswith("  AutoAttack gap: PGD-20 at eps 8/255 leaves 70.7%") for line in lines)
    assert "To ask the authors:" in lines


def test_strict_fails_where_a_row_is_flagged(table):
    assert CliRunner().invoke(app, ["check", str(table), "--strict"]).exit_code == 3
    table.write_text(TABLE.rpartition("bad")[0])
    assert CliRunner().invoke(app, ["check", str(table), "--strict"]).exit_code == 0


def test_the_review_is_written_as_json(table, tmp_path):
    out = tmp_path / "review.json"
    CliRunner().invoke(app, ["check", str(table), "--out", str(out)])
    found = json.loads(out.read_text())
    assert [row["name"] for row in found["rows"]] == ["good", "bad"]
    assert found["rows"][1]["verdict"]["level"] == "suspicious"
    assert found["questions"]
