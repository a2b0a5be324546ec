"""The page shows the committed tables as they were measured, and those say where they come from."""

import re
from pathlib import Path

import pytest

from purespike.reporting.markers import held, names
from purespike.reproduction import EXPERIMENTS
from purespike.reproduction.output import shown
from purespike.reproduction.row import CLEAN
from purespike.reproduction.sheet import Sheet
from purespike.results import Evaluation
from purespike.results.vocabulary import THREATS

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "reproduction.md"
RESULTS = ROOT / "results" / "reproduction"
OF_THE_PAPER = [name for name, each in EXPERIMENTS.items() if each.printed]
# measured numbers under attack: rows measured x columns but the clean one
ATTACKED = {
    "table1": 4 * 4,
    "table2": 6 * 11,
    "table3": 4 * 8,
    "table4": 1 * 6,
    "fig1": 3 * 2,
    "fig4": 0,
    "fig5": 8 * 11,
    "transfer": 3 * 11,
    "ablation": 10 * 7,
}


def test_every_experiment_is_on_the_page():
    assert sorted(names(PAGE.read_text(encoding="utf-8"))) == sorted(OF_THE_PAPER) == sorted(ATTACKED)


@pytest.mark.parametrize("name", OF_THE_PAPER)
def test_the_page_shows_what_was_measured(name):
    assert held(PAGE.read_text(encoding="utf-8"), name) == shown(RESULTS, name, PAGE).strip()
    assert (RESULTS / name / "figure.png").is_file()
    origin = Sheet.read(RESULTS / name / "result.json").provenance
    assert re.fullmatch("[0-9a-f]{40}", origin.commit) and not origin.dirty
    assert origin.command.startswith("purespike reproduce")


def attacked(sheet):
    """Row, column and cell of every measured number but clean accuracy and times."""
    return [
        (row, column, row.cells[column])
        for row in sheet.rows
        for column in sheet.columns
        if row.origin == "measured" and column in row.cells and column != CLEAN and column.unit in ("%", "")
    ]


@pytest.mark.parametrize("name", OF_THE_PAPER)
def test_every_attacked_number_names_its_threat_model(name):
    found = attacked(Sheet.read(RESULTS / name / "result.json"))
    assert len(found) == ATTACKED[name]
    for row, column, cell in found:
        named = [word for word in re.findall(r"\w+", row.method) if word in THREATS]
        assert cell.threat in THREATS or cell.threat == "noise" or len(named) == 1, (row.method, column)
        if name in ("fig1", "fig5"):
            # a reader sees columns and methods: no attacker there, so the threat model must be here
            assert column.attacker == "" and len(named) == 1
            assert cell.threat in (*named, None)
        else:
            assert (cell.threat == "noise") == (column.attacker == "")


def test_figure_4_holds_times_and_no_accuracy():
    sheet = Sheet.read(RESULTS / "fig4" / "result.json")
    assert [column.unit for column in sheet.columns] == ["s", "s", "count", "h", "×"]
    cells = [cell for row in sheet.rows for cell in row.cells.values()]
    assert cells and all(cell.threat is None and cell.n is None for cell in cells)


def test_the_ablation_it_quotes_is_the_measured_one():
    page = PAGE.read_text(encoding="utf-8")
    for name in ("K1-on-1000", "K3-on-1000"):
        evaluation = Evaluation.read(RESULTS / "ablation" / name / "evaluation.json")
        (cell,) = (c for c in evaluation.cells if (c.attack, c.threat) == ("pgd", "oblivious"))
        assert f"{cell.score.text}%" in page and cell.score.interval in page
        assert (cell.score.n, cell.steps) == (1000, 20)


@pytest.mark.parametrize("name", ["holding", "holding-ablation"])
def test_the_page_on_defending_shows_what_was_measured(name):
    page = ROOT / "docs" / "defending.md"
    assert held(page.read_text(encoding="utf-8"), name) == shown(RESULTS, name, page).strip()
