"""A reproduction's table, ours beside the paper's, as Markdown and as LaTeX."""

from collections.abc import Iterator, Mapping
from itertools import groupby
from typing import Any

from purespike.reporting import escape
from purespike.results.vocabulary import MISSING

Sheet = Mapping[str, Any]
# what stands under the title of a column
HEADS = {
    "alone": "classifier alone",
    "adaptive": "adaptive",
    "bpda": "bpda",
    "transfer": "transfer",
    "": "",
}
ORIGINS = {"paper": "printed", "quoted": "quoted", "measured": "", "missing": ""}


def markdown_sheet(sheet: Sheet) -> str:
    """One table per group; printed rows in italics, quoted ones marked, notes below."""
    lines = [f"**{escape.markdown(sheet['title'])}**", ""]
    for name, rows in groupby(sheet["rows"], key=lambda row: row["group"]):
        heads = [f"{column['title']} {_under(column)}".strip() for column in sheet["columns"]]
        lines += [f"| {escape.markdown(name)} | {' | '.join(escape.markdown(head) for head in heads)} |"]
        lines += [f"|:--{'|--:' * len(heads)}|"]
        lines += [f"| {' | '.join(_markdown_row(sheet, row))} |" for row in rows]
        lines += [""]
    lines += [f"{escape.markdown(note)}\n" for note in _notes(sheet)]
    return "\n".join(lines).rstrip() + "\n"


def latex_sheet(sheet: Sheet) -> str:
    """The same for ``\\input``, for the package ``booktabs``."""
    count = len(sheet["columns"])
    tops = " & ".join(escape.latex(column["title"]) for column in sheet["columns"])
    unders = " & ".join(escape.latex(_under(column)) for column in sheet["columns"])
    lines = [
        "% needs \\usepackage{booktabs}",
        "\\begin{table}",
        "\\centering",
        f"\\caption{{{escape.latex(' '.join([sheet['title'] + '.', *_notes(sheet)]))}}}",
        f"\\begin{{tabular}}{{l{'r' * count}}}",
        "\\toprule",
        f" & {tops} \\\\",
        f" & {unders} \\\\",
    ]
    for name, rows in groupby(sheet["rows"], key=lambda row: row["group"]):
        lines += ["\\midrule", f"\\multicolumn{{{count + 1}}}{{l}}{{\\textbf{{{escape.latex(name)}}}}} \\\\"]
        for row in rows:
            cells = [escape.latex(text) for text in _texts(sheet, row)]
            if row["origin"] in ("paper", "quoted"):
                cells = [f"\\textit{{{cell}}}" for cell in cells]
            lines.append(f"{' & '.join([escape.latex(_method(row)), *cells])} \\\\")
    return "\n".join([*lines, "\\bottomrule", "\\end{tabular}", "\\end{table}", ""])


def _markdown_row(sheet: Sheet, row: Mapping[str, Any]) -> Iterator[str]:
    printed = row["origin"] in ("paper", "quoted")
    for text in (_method(row), *_texts(sheet, row)):
        shown = escape.markdown(text)
        yield f"*{shown}*" if printed and text != MISSING else shown


def _method(row: Mapping[str, Any]) -> str:
    mark = ORIGINS[row["origin"]]
    # a row called "paper" needs no mark
    return f"{row['method']} ({mark})" if mark and "paper" not in row["method"] else row["method"]


def _texts(sheet: Sheet, row: Mapping[str, Any]) -> list[str]:
    if row["origin"] == "missing":
        return ["not measured", *[MISSING] * (len(sheet["columns"]) - 1)]
    return [number(row["cells"].get(column["key"]), column["unit"]) for column in sheet["columns"]]


def number(cell: Mapping[str, Any] | None, unit: str) -> str:
    """A cell as text: mean ± deviation over seeds, or the Wilson interval of a single one."""
    if cell is None:
        return MISSING
    mean = cell["mean"]
    if unit != "%":
        return f"{mean:.0f}" if unit == "count" else f"{mean:.3g}"
    text = f"{100 * mean:.1f}" if cell["n"] else f"{100 * mean:.2f}"
    if cell["deviation"] is not None:
        return f"{text} ± {100 * cell['deviation']:.1f}"
    if cell["low"] is not None:
        return f"{text} [{100 * cell['low']:.0f}, {100 * cell['high']:.0f}]"
    return text


def _under(column: Mapping[str, Any]) -> str:
    if column["unit"] not in ("%", "count", ""):
        return f"({column['unit']})"
    return HEADS[column["attacker"]] and f"({HEADS[column['attacker']]})"


def _notes(sheet: Sheet) -> Iterator[str]:
    cells = [cell for row in sheet["rows"] for cell in row["cells"].values()]
    scale = f"{sheet['scale']['images']} test images. Scale: {sheet['scale']['about']}."
    if len(sheet["seeds"]) > 1:
        yield f"In %, mean ± standard deviation over {len(sheet['seeds'])} seeds; {scale}"
    elif any(cell["low"] is not None for cell in cells):
        yield f"Accuracy in % with its 95% Wilson interval, one seed; attacked were {scale}"
    elif any(cell["n"] for cell in cells):
        yield f"One seed, {scale}"
    else:
        yield f"One seed. Scale: {sheet['scale']['about']}."
    yield from sheet["notes"]
    if any(row["origin"] == "missing" for row in sheet["rows"]):
        names = dict.fromkeys(row["group"] for row in sheet["rows"] if row["origin"] == "missing")
        yield f"Not measured: {', '.join(names)}, whose images could not be had on this machine."
