"""Committed sheets load, and are written as they were; a damaged one is one line."""

import json
import statistics
from pathlib import Path

import pytest

from purespike.errors import InputError
from purespike.reproduction import EXPERIMENTS
from purespike.reproduction.output import write_sheet
from purespike.reproduction.sheet import Column, Sheet, SheetCell

RESULTS = Path(__file__).parents[2] / "results" / "reproduction"


@pytest.mark.parametrize("name", [name for name, each in EXPERIMENTS.items() if each.printed])
def test_all_files_of_a_committed_sheet_follow_from_its_json(name, tmp_path):
    write_sheet(Sheet.read(RESULTS / name / "result.json"), tmp_path)
    written = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert {"result.json", "table.md", "table.tex"} <= set(written)
    for file, content in written.items():
        assert content == (RESULTS / name / file).read_bytes(), file


def test_a_column_is_a_key_whatever_its_unit():
    cells = {Column("PGD", "alone"): 1}
    assert cells[Column("PGD", "alone", unit="s")] == 1
    assert Column("PGD", "adaptive") not in cells and Column("PGD|x", "alone").key == "PGD|x|alone"


def test_mean_and_deviation_over_seeds():
    one, several = SheetCell.of([0.25], interval=(0.2, 0.3)), SheetCell.of([0.1, 0.2, 0.6])
    assert (one.mean, one.deviation, one.low, one.high) == (0.25, None, 0.2, 0.3)
    assert several.mean == pytest.approx(0.3) and several.deviation == statistics.stdev([0.1, 0.2, 0.6])


DAMAGE = {
    "schema": (lambda s: s.update(schema=2), "schema: Input should be 1, got 2"),
    "kind": (lambda s: s.update(kind="pie"), "kind: .*got 'pie'"),
    "no rows": (lambda s: s.pop("rows"), "rows: is missing"),
    "origin": (lambda s: s["rows"][1].update(origin="guessed"), "rows.1.origin: .*got 'guessed'"),
    "a number of text": (
        lambda s: s["rows"][0]["cells"]["PGD|alone"].update(mean="high"),
        r"rows.0.cells.PGD\|alone.mean: .*got 'high'",
    ),
    "a key of no column": (
        lambda s: s["rows"][0]["cells"].update({"PGD|x": s["rows"][0]["cells"]["PGD|alone"]}),
        r"rows: K=1 has a cell 'PGD\|x', which is no column",
    ),
    "a key without attacker": (
        lambda s: s["rows"][0]["cells"].update(PGD=s["rows"][0]["cells"]["PGD|alone"]),
        r"rows.0.cells.PGD.*expected TITLE\|ATTACKER",
    ),
    "attacker": (lambda s: s["columns"][1].update(attacker="who"), "columns: unknown attacker 'who'"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_file_is_one_line_that_names_file_and_field(name, tmp_path):
    change, message = DAMAGE[name]
    content = json.loads((RESULTS / "table1" / "result.json").read_text(encoding="utf-8"))
    change(content)
    path = tmp_path / "result.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(InputError, match=message) as caught:
        Sheet.read(path)
    text = str(caught.value)
    assert text.startswith(f"{path}: malformed sheet: ") and text.endswith("; run the experiment again")
