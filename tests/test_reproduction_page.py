"""The page shows the committed tables as they were measured, and those say where they come from."""

import json
import re
from pathlib import Path

import pytest

from purespike.reporting.markers import held, names
from purespike.reporting.sheet_tables import latex_sheet, markdown_sheet
from purespike.reproduction import EXPERIMENTS
from purespike.reproduction.experiments import shown

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "reproduction.md"
RESULTS = ROOT / "results" / "reproduction"


def test_every_experiment_is_on_the_page():
    assert sorted(names(PAGE.read_text(encoding="utf-8"))) == sorted(EXPERIMENTS)


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_the_page_shows_what_was_measured(name):
    page = PAGE.read_text(encoding="utf-8")
    assert held(page, name) == shown(RESULTS, name, PAGE).strip()
    content = json.loads((RESULTS / name / "result.json").read_text(encoding="utf-8"))
    assert (RESULTS / name / "table.md").read_text(encoding="utf-8") == markdown_sheet(content)
    assert (RESULTS / name / "table.tex").read_text(encoding="utf-8") == latex_sheet(content)
    assert (RESULTS / name / "figure.png").is_file()
    origin = content["provenance"]
    assert re.fullmatch("[0-9a-f]{40}", origin["commit"]) and not origin["dirty"]
    assert origin["command"].startswith("purespike reproduce")


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_attacked_number_names_its_threat_model(name):
    content = json.loads((RESULTS / name / "result.json").read_text(encoding="utf-8"))
    attackers = {column["key"]: column["attacker"] for column in content["columns"]}
    for row in content["rows"]:
        for key, cell in row["cells"].items():
            if row["origin"] == "measured" and attackers[key]:
                assert cell["threat"] in ("undefended", "oblivious", "bpda", "transfer", "adaptive")


def test_the_ablation_it_quotes_is_the_measured_one():
    page = PAGE.read_text(encoding="utf-8")
    for name in ("K1-on-1000", "K3-on-1000"):
        path = RESULTS / "ablation" / name / "evaluation.json"
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        (cell,) = (c for c in cells if (c["attack"], c["threat"]) == ("pgd", "oblivious"))
        score = cell["score"]
        assert f"{score['accuracy']:.1%}" in page
        assert f"[{100 * score['low']:.1f}, {100 * score['high']:.1f}]" in page
        assert score["n"] == 1000 and cell["settings"]["steps"] == 20
