"""A grid says the same in every format, and survives any name."""

import csv
import io
import re

import pytest
import rich.console

from purespike.reporting.grid import Cell, Grid, Group, Head, Row, csv_text

NASTY = r"a|b_c*d* & [x](y) <i> $z$ \\ % {q}"


def make(**more: object) -> Grid:
    rows = [
        Row("first", [Cell("1.0", ("[0, 2]",)), "–"], once=True),
        Row(NASTY, ["2.0", Cell("3.0", ("[2, 4]", "a pass"))], about=("eps 1", "raised"), style="bold"),
        Row("printed", [Cell("4.0", quiet=True), "–"], style="italic"),
    ]
    heads = [Head("Attack"), Head("Clean", "no attack"), Head(NASTY)]
    return Grid("Title", heads, [Group("A", rows, ("Note of A.",)), Group("B", rows)], ("Last.",), **more)


def columns(line: str, separator: str) -> int:
    return len(re.findall(rf"(?<!\\){re.escape(separator)}", line))


def test_markdown_has_a_table_per_group_and_its_notes_below() -> None:
    text = make().markdown("## {}")
    blocks = text.strip().split("\n\n")
    assert [block.splitlines()[0] for block in blocks if not block.startswith("|")] == [
        "## Title",
        "**A**",
        "Note of A.",
        "**B**",
        "Last.",
    ]
    tables = [block.splitlines() for block in blocks if block.startswith("|")]
    assert [len(table) for table in tables] == [5, 5]
    assert {columns(line, "|") for table in tables for line in table} == {4}
    assert tables[0][1] == "|:--|--:|--:|"
    assert tables[0][2] == "| first | 1.0 \\[0, 2\\] | – |"
    assert tables[0][3].endswith(" (eps 1), raised | **2.0** | **3.0** \\[2, 4\\] a pass |")
    assert tables[0][4] == "| *printed* | *4.0* | – |"


def test_a_corner_holds_the_heading_of_its_group() -> None:
    grid = make(corner=True)
    assert [line for line in grid.markdown().splitlines() if line.startswith("| A |")]
    lines = grid.latex().splitlines()
    assert r"\multicolumn{3}{l}{\textbf{A}} \\" in lines and r" & (no attack) &  \\" in lines


def test_italic_entries_are_explained() -> None:
    assert make(italic="white-box").markdown().startswith("Title *Italic*: white-box.\n")


@pytest.mark.parametrize("wide", [False, True])
def test_latex_is_one_table_of_even_rows(wide: bool) -> None:
    text = make().latex_table(wide=wide)
    rows = [line for line in text.splitlines() if line.endswith(r" \\") and "multicolumn" not in line]
    # the first row of the second group is that of the first
    assert {columns(line, "&") for line in rows} == {2} and len(rows) == (1 if wide else 2) + 3 + 2
    assert text.count(r"\midrule") == 2 and text.count(r"\toprule") == text.count(r"\bottomrule") == 1
    assert r"\caption{Title. Note of A. Last.}" in text
    assert (r"\resizebox" in text) is (r"\shortstack[b]{Clean\\ {\tiny no attack}}" in text) is wide
    assert r"printed & \textit{4.0} & \textit{--} \\" in text
    assert r"\textbf{2.0} & \textbf{3.0 {\scriptsize {[}2, 4] a pass}} \\" in text
    plain = re.sub(r"\\[{}\\%&$#_]", "", text)
    assert plain.count("{") == plain.count("}")


def test_console_has_every_text() -> None:
    console = rich.console.Console(width=120, file=io.StringIO(), record=True)
    console.print(make().console())
    shown = console.export_text()
    for text in ("Title", "Clean", NASTY, "first", "[2, 4]", "a pass", "raised", "Note of A.", "Last."):
        assert text in shown
    assert shown.count("first") == 1


def test_csv_reads_back() -> None:
    text = csv_text(["a", "b"], [[NASTY, None], ['quo"ted\nlines', 0.1]])
    assert list(csv.reader(io.StringIO(text, newline=""))) == [
        ["a", "b"],
        [NASTY, ""],
        ['quo"ted\nlines', "0.1"],
    ]


def test_no_cell_of_a_csv_begins_a_formula():
    rows = [["=cmd()", "+1", "-x", "@SUM(A1)", "\t=1"], ["a=b", "plain", -0.5, None, "red\x1b[31m"]]
    read = list(csv.reader(io.StringIO(csv_text(["a"] * 5, rows))))
    assert read[1] == ["'=cmd()", "'+1", "'-x", "'@SUM(A1)", "'\t=1"]
    assert read[2] == ["a=b", "plain", "-0.5", "", "red[31m"]
