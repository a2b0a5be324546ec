"""Published tables that stronger attacks have overturned, and a healthy one: what the review says of each.

The numbers are quotations: the accuracies that the papers, or those who ran them again, print. The clean
accuracy of the conversion is ours, since the source gives none.
"""

from pathlib import Path

import pytest

from purespike.review import read_table, review

TABLE = Path(__file__).with_name("published.csv")
EXPECTED = {
    "FEEL, leak fixed at 0": {
        "iterated ≥ single step",
        "no adversarial training",
        "another loss far stronger",
    },
    "CARENet": {"iterated ≈ single step", "AutoAttack gap", "another loss far stronger"},
    "AT + StoG": {"no-random-start attack stronger", "random without EOT", "C&W failed"},
    "RAT + StoG": {"no-random-start attack stronger", "random without EOT"},
    "MPD-SGR": {"no-random-start attack stronger", "no adversarial training"},
    "RAT + TGO": {"not converged"},
    "AT + projection with DLIF": {"AutoAttack gap"},
    "HoSNN without AT": {"no adversarial training"},
    "Conversion": {"AutoAttack gap", "trained on a smaller budget"},
    "DCT": {"no gradient at all"},
    "Image purification": {
        "a suite is at least as strong as its parts",
        "an attack cannot raise accuracy",
        "an iterated attack is at least as strong",
        "iterated ≥ single step",
        "no adversarial training",
    },
    "healthy": set(),
}
LEVELS = {"DCT": "unreliable", "Image purification": "unreliable", "healthy": "reliable"}


@pytest.fixture(scope="module")
def reviewed():
    return {row.name: row for row in review(read_table(TABLE, eps="8/255")).rows}


def test_every_row_is_expected(reviewed):
    assert reviewed.keys() == EXPECTED.keys()


@pytest.mark.parametrize("name", EXPECTED)
def test_a_published_row_earns_its_flags_and_no_others(reviewed, name):
    row = reviewed[name]
    assert {finding.name for finding in row.findings} == EXPECTED[name]
    assert row.verdict.level == LEVELS.get(name, "suspicious")


def test_a_row_is_flagged_although_its_source_names_no_budget():
    """CARENet's abstract does not."""
    (row,) = review([row for row in read_table(TABLE) if row.name == "CARENet"]).rows
    assert {finding.name for finding in row.findings} >= {"iterated ≈ single step", "AutoAttack gap"}


def test_every_finding_says_the_numbers_and_a_remedy(reviewed):
    for row in reviewed.values():
        for finding in row.findings:
            assert "%" in finding.message or "stochastic" in finding.message
            assert finding.advice and finding.source
