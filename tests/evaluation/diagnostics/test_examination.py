"""What the diagnostics repeat the attack with."""

from purespike.evaluation.diagnose import LEADING, leading

from purespike.evaluation.cell import Cell

ENSEMBLE = ("a", "b", "c", "d", "e", "f")


def cell(threat="adaptive", **broken):
    components = [
        {"surrogate": name, "loss": "ce", "attacked": 9, "broken": count} for name, count in broken.items()
    ]
    return Cell("pgd", 0.1, "linf", threat, [1], {}, 1, 1, 0.0, 0.0, components, [], [], 0)


def test_those_that_broke_most_lead():
    cells = [cell(a=1, b=0, c=5), cell(a=1, f=3), cell("oblivious", own=9, b=9)]
    assert leading(cells, ENSEMBLE) == ("c", "f", "a")


def test_no_more_than_a_few_lead():
    assert leading([cell(a=1, b=2, c=3, d=4, e=5)], ENSEMBLE) == ("e", "d", "c", "b")


def test_without_an_adaptive_cell_the_first_lead():
    assert leading([], ENSEMBLE) == ENSEMBLE[:LEADING]
    assert leading([cell(a=0)], ENSEMBLE) == ENSEMBLE[:LEADING]
