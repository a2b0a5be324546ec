"""A sheet as Markdown and as LaTeX."""

from collections.abc import Iterator

from purespike.reporting import escape
from purespike.reproduction.sheet import Sheet, SheetCell, SheetRow
from purespike.results.vocabulary import MISSING, percent

MARKS = {"paper": "printed", "quoted": "quoted"}


def markdown_sheet(sheet: Sheet) -> str:
    """One table per group; printed rows in italics, quoted ones marked, notes below."""
    lines = [f"**{escape.markdown(sheet.title)}**", ""]
    heads = [escape.markdown(f"{column.title} {column.head}".strip()) for column in sheet.columns]
    for name, rows in sheet.groups.items():
        lines += [f"| {escape.markdown(name)} | {' | '.join(heads)} |", f"|:--{'|--:' * len(heads)}|"]
        for row in rows:
            texts = [escape.markdown(text) for text in (_method(row), *_texts(sheet, row))]
            shown = [f"*{text}*" if row.printed and text != MISSING else text for text in texts]
            lines.append(f"| {' | '.join(shown)} |")
        lines.append("")
    lines += [f"{escape.markdown(note)}\n" for note in _notes(sheet)]
    return "\n".join(lines).rstrip() + "\n"


def latex_sheet(sheet: Sheet) -> str:
    """The same for ``\\input``, for the package ``booktabs``."""
    count = len(sheet.columns)
    lines = [
        "% needs \\usepackage{booktabs}",
        "\\begin{table}",
        "\\centering",
        f"\\caption{{{escape.latex(' '.join([sheet.title + '.', *_notes(sheet)]))}}}",
        f"\\begin{{tabular}}{{l{'r' * count}}}",
        "\\toprule",
        f" & {' & '.join(escape.latex(column.title) for column in sheet.columns)} \\\\",
        f" & {' & '.join(escape.latex(column.head) for column in sheet.columns)} \\\\",
    ]
    for name, rows in sheet.groups.items():
        lines += ["\\midrule", f"\\multicolumn{{{count + 1}}}{{l}}{{\\textbf{{{escape.latex(name)}}}}} \\\\"]
        for row in rows:
            cells = [escape.latex(text) for text in _texts(sheet, row)]
            if row.printed:
                cells = [f"\\textit{{{cell}}}" for cell in cells]
            lines.append(f"{' & '.join([escape.latex(_method(row)), *cells])} \\\\")
    return "\n".join([*lines, "\\bottomrule", "\\end{tabular}", "\\end{table}", ""])


def number(cell: SheetCell | None, unit: str) -> str:
    """A cell as text: mean ± deviation over seeds, or the Wilson interval of a single one."""
    if cell is None:
        return MISSING
    if unit != "%":
        return f"{cell.mean:.0f}" if unit == "count" else f"{cell.mean:.3g}"
    text = percent(cell.mean) if cell.n else f"{100 * cell.mean:.2f}"
    if cell.deviation is not None:
        return f"{text} ± {percent(cell.deviation)}"
    if cell.low is not None and cell.high is not None:
        return f"{text} [{100 * cell.low:.0f}, {100 * cell.high:.0f}]"
    return text


def _method(row: SheetRow) -> str:
    mark = MARKS.get(row.origin)
    # a row called "paper" needs no mark
    return f"{row.method} ({mark})" if mark and "paper" not in row.method else row.method


def _texts(sheet: Sheet, row: SheetRow) -> list[str]:
    if row.origin == "missing":
        return ["not measured", *[MISSING] * (len(sheet.columns) - 1)]
    return [number(row.cells.get(column), column.unit) for column in sheet.columns]


def _notes(sheet: Sheet) -> Iterator[str]:
    cells = [cell for row in sheet.rows for cell in row.cells.values()]
    images, scale = f"{sheet.scale.images} test images", f"Scale: {sheet.scale.about}."
    if len(sheet.seeds) > 1:
        yield f"In %, mean ± standard deviation over {len(sheet.seeds)} seeds; {images}. {scale}"
    elif any(cell.low is not None for cell in cells):
        yield f"Accuracy in % with its 95% Wilson interval, one seed; {images} attacked. {scale}"
    elif any(cell.n for cell in cells):
        yield f"One seed, {images}. {scale}"
    else:
        yield f"One seed. {scale}"
    yield from sheet.notes
    if missing := dict.fromkeys(row.group for row in sheet.rows if row.origin == "missing"):
        yield f"Not measured: {', '.join(missing)} (data not available)."
