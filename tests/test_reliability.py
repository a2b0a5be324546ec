"""The page's tables are those of the committed results, and in those every promise held."""

import json
import re
from pathlib import Path

import pytest

from purespike.reporting.markers import held
from torture.__main__ import PARTS
from torture.report import markdown

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "results" / "torture"


def test_the_tables_are_those_of_the_results():
    page = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")
    assert held(page, "measured") == markdown(RESULTS, PARTS)


@pytest.mark.parametrize("path", sorted(RESULTS.glob("*.json")), ids=lambda path: path.stem)
def test_results_say_where_they_come_from_and_that_all_held(path):
    content = json.loads(path.read_text(encoding="utf-8"))
    origin = content["provenance"]
    assert re.fullmatch("[0-9a-f]{40}", origin["commit"]) and origin["dirty"] is False
    assert origin["command"].startswith("python -m torture")
    assert content["settings"] == {"seed": 0, "scale": "full"} and content["part"] == path.stem
    assert not content["broken"] and not any(row["broken"] for row in content["rows"])
    least = {"kills": 100, "inputs": 300}.get(path.stem, 1)
    assert sum(row["tried"] for row in content["rows"]) >= least
