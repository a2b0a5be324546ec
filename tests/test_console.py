"""What commands print steers no terminal, whatever the names in it."""

import pytest

from purespike import console, progress
from purespike.reporting.grid import Cell, Grid, Group, Head, Row

STEERING = "\x1b[31mred\x07\x9b \u202egnp.exe [bold]b[/bold][/]"
SHOWN = "[31mred gnp.exe [bold]b[/bold][/]"


def grid():
    return Grid(STEERING, [Head("a"), Head("b")], [Group("", [Row(STEERING, [Cell(STEERING, (STEERING,))])])])


@pytest.mark.parametrize(
    ("printed", "count"),
    [
        (lambda: console.show(STEERING), 1),
        (lambda: console.show(grid().console()), 4),
        (lambda: progress.Bar(STEERING, 3, "images").announce(), 1),
    ],
    ids=["line", "table", "progress"],
)
def test_names_are_text(printed, count, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "300")
    printed()
    made = "".join(capsys.readouterr())
    assert made.count(SHOWN) == count and console.plain(made) == made


def test_an_error_is_text(capsys):
    with pytest.raises(SystemExit, match="2"):
        console.fail(f"{STEERING}: no such file", code=2)
    assert capsys.readouterr().err == f"purespike: error: {SHOWN}: no such file\n"
