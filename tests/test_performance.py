"""The page's tables are those of the committed results, and those say where they come from."""

import json
import re
from pathlib import Path

import pytest

from benchmarks.__main__ import NAMES
from benchmarks.report import markdown
from purespike.reporting.markers import held

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "results" / "benchmarks"


def test_the_tables_are_those_of_the_results():
    page = (ROOT / "docs" / "performance.md").read_text(encoding="utf-8")
    assert held(page, "measured") == markdown(RESULTS, NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_results_say_where_they_come_from(name):
    content = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
    origin = content["provenance"]
    assert re.fullmatch("[0-9a-f]{40}", origin["commit"]) and origin["dirty"] is False
    assert origin["command"].startswith("python -m benchmarks")
    assert content["benchmark"] == name and content["rows"] and not content["skipped"]
    assert {"torch", "spikingjelly", "snntorch", "foolbox"} <= origin["versions"].keys()
    for row in content["rows"]:
        assert row["low"] <= row["ratio"] <= row["high"]
        if row["bound"] is not None:
            met = "met" if row["ratio"] <= row["bound"] else "MISSED"
            assert row["verdict"] == f"≤ {row['bound']:g} {met}"
