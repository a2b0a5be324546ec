"""LaTeX and CSV say what the table says, and survive any name."""

import csv
import io
import re
from typing import Any

import pytest

from purespike.reporting import escape, exports, tables

Evaluation = dict[str, Any]
NASTY = r"a&b_c%d$x^2~#{}\ <script> | [x] * `y` ∞ −"


def unescaped(text: str) -> str:
    """LaTeX read back by hand: braces that group vanish, commands become what they print."""
    commands = {
        r"\textbackslash{}": "\\",
        r"\textasciicircum{}": "^",
        r"\textasciitilde{}": "~",
        r"\textless{}": "<",
        r"\textgreater{}": ">",
        r"\textbar{}": "|",
        r"$\infty$": "∞",
        "$-$": "−",
        "{[}": "[",
        "{*}": "*",
    }
    pattern = "|".join(re.escape(command) for command in commands) + r"|\\[&%$#_{}]"
    return re.sub(pattern, lambda match: commands.get(match[0], match[0][-1:]), text)


def test_latex_escapes_and_reads_back() -> None:
    text = escape.latex(NASTY)
    assert unescaped(text) == NASTY
    # what is left after every escape holds no character that TeX would act on
    bare = re.sub(r"\\[&%$#_{}]|\\text\w+\{\}|\$[^$]*\$|\{[\[*]\}", "", text)
    assert not re.search(r"[\\{}$&#%_^~<>|*\[]", bare)


@pytest.mark.parametrize("text", ["two\nlines", "tab\tbed", "null\0byte", "sep\u2028arated"])
def test_a_name_stays_on_its_line(text: str) -> None:
    for made in (escape.latex(text), escape.markdown(text)):
        assert made == re.sub(r"[\n\t\0\u2028]", " ", text)


def test_markdown_is_inert() -> None:
    shown = escape.markdown("a|b <b> **c** [d](e) `f` \\| &amp; ~~g~~ $h$")
    assert not re.search(r"(?<!\\)[|*`\[\]~$]", shown)
    assert "<" not in shown and "&amp;amp;" in shown and r"\\\|" in shown


def rows_of(text: str) -> list[list[str]]:
    return [re.split(r"(?<!\\)&", line.removesuffix(r" \\")) for line in text.splitlines() if " & " in line]


def test_latex_table_has_all_numbers_in_even_rows(evaluation: Evaluation) -> None:
    shown = exports.latex_table(evaluation)
    head, *rows = rows_of(shown)
    assert [cell.strip() for cell in head][:3] == ["Attack", "Clean", "Undefended"]
    assert {len(row) for row in rows} == {len(head)}
    made = tables.robustness_tables(evaluation)
    wanted = [row for number, table in enumerate(made) for row in table.rows[min(number, 1) :]]
    assert len(rows) == len(wanted)
    for cells, row in zip(rows, wanted, strict=True):
        assert escape.latex(row.attack) in cells[0] and escape.latex(row.condition) in cells[0]
        for cell, entry in zip(cells[2:], row.robust.values(), strict=True):
            if entry:
                assert entry.text in cell and escape.latex(entry.interval) in cell
            else:
                assert re.sub(r"\\textbf\{(.*)\}", r"\1", cell.strip()) == "--"
    assert shown.count(r"\toprule") == shown.count(r"\bottomrule") == 1
    assert "booktabs" in shown and r"eps 16/255" in shown


def test_latex_table_survives_names(evaluation: Evaluation) -> None:
    evaluation["cells"][0]["attack"] = NASTY
    evaluation["data"]["source"] = NASTY
    shown = exports.latex_table(evaluation)
    assert escape.latex(NASTY) in shown and NASTY not in shown
    assert len({len(row) for row in rows_of(shown)}) == 1
    assert _depth(shown) == 0


def _depth(text: str) -> int:
    text = re.sub(r"\\[{}\\]", "", text)
    return text.count("{") - text.count("}")


def test_raised_and_random_are_said(evaluation: Evaluation) -> None:
    raise_pgd(evaluation)
    assert "raised from 20 steps" in exports.latex_table(evaluation)
    assert "11.3 a pass" in exports.latex_table(evaluation)


def raise_pgd(evaluation: Evaluation) -> dict[str, Any]:
    first = next(c for c in evaluation["cells"] if c["attack"] == "pgd" and c["threat"] == "adaptive")
    more = {"settings": {"steps": 40}, "raised_from": 20, "passes": 10, "pass_accuracy": 0.113}
    raised = {**first, "eps": evaluation["settings"]["eps"][0], **more, "warnings": ["slow", "odd, very"]}
    evaluation["cells"].append(raised)
    return raised


def test_csv_has_every_cell(evaluation: Evaluation) -> None:
    raise_pgd(evaluation)
    evaluation["cells"][0]["attack"] = 'quo"ted, name\nin two lines'
    lines = list(csv.DictReader(io.StringIO(exports.csv_table(evaluation), newline="")))
    assert len(lines) == 2 + len(evaluation["cells"]) + len(evaluation["worst_case"])
    assert [float(line["accuracy"]) for line in lines[:2]] == [
        evaluation["clean"][name]["accuracy"] for name in ("undefended", "defended")
    ]
    for line, cell in zip(lines[2:], evaluation["cells"], strict=False):
        assert (line["attack"], line["threat"], line["norm"]) == (
            cell["attack"],
            cell["threat"],
            cell["norm"],
        )
        assert line["eps"] == ("" if cell["eps"] is None else repr(cell["eps"]))
        for key in ("correct", "n", "accuracy", "low", "high"):
            assert float(line[key]) == cell["score"][key]
    last = lines[2 + len(evaluation["cells"]) - 1]
    assert (last["steps"], last["raised_from"], last["passes"], last["pass_accuracy"]) == (
        "40",
        "20",
        "10",
        "0.113",
    )
    assert last["warnings"] == "slow; odd, very"
    assert {line["attack"] for line in lines[-len(evaluation["worst_case"]) :]} == {"worst"}
