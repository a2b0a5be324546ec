"""The table of docs/rejecting.md shows what results/rejection holds."""

import re
from pathlib import Path

import pytest

from purespike.results.rejection import Rejection

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "rejecting.md").read_text(encoding="utf-8")
ROWS = {
    "holding, `purification_distance`": "holding-purification_distance",
    "holding, `firing_rate`": "holding-firing_rate",
    "holding, `disagreement`": "holding-disagreement",
    "paper's, gated by `noise_max`": "paper-gated",
}


@pytest.mark.parametrize("row", ROWS)
def test_a_row_of_the_page_is_the_committed_one(row):
    (line,) = re.findall(rf"^\| {re.escape(row)} \|(.*)\|$", PAGE, re.M)
    shown = [re.findall(r"\d+\.\d", cell) for cell in line.split("|")]
    found = Rejection.read(ROOT / "results" / "rejection" / ROWS[row] / "rejection.json")
    oblivious, adaptive = found.cells
    wanted = [
        share(oblivious.robust),
        share(adaptive.robust),
        share(adaptive.won),
        [adaptive.accepted.text],
        [f"{100 - 100 * slight.rejected.accuracy:.1f}" for slight in found.slight],
    ]
    assert shown == wanted


def share(score):
    return re.findall(r"\d+\.\d", f"{score.text} {score.interval}")
