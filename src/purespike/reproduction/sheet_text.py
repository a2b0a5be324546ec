"""A sheet as a table of text, for Markdown and LaTeX."""

from collections.abc import Iterator

from purespike.reporting.grid import Grid, Group, Head, Row
from purespike.reproduction.sheet import NOT_ASKED, Sheet, SheetCell, SheetRow
from purespike.results.vocabulary import MISSING, percent

MARKS = {"paper": "printed", "quoted": "quoted"}
EMPTY = {"missing": "not measured", "failed": "failed"}
LONG = 40
"""Characters of a remark beyond which it stands below the table."""


def sheet_grid(sheet: Sheet) -> Grid:
    """One group per group of the sheet; printed rows in italics, quoted ones marked, notes below."""
    below = [row for row in sheet.rows if len(row.remark) > LONG]
    return Grid(
        sheet.title,
        [Head(""), *(Head(column.title, column.note) for column in sheet.columns)],
        [Group(name, [_row(sheet, row, below) for row in rows]) for name, rows in sheet.groups.items()],
        tuple(_notes(sheet, below)),
        corner=True,
    )


def number(cell: SheetCell | None, unit: str) -> str:
    """A cell as text: mean ± deviation over seeds, or the Wilson interval of a single one."""
    if cell is None:
        return MISSING
    if unit != "%":
        whole = unit == "count" or abs(cell.mean) >= 1000
        return f"{cell.mean:,.0f}" if whole else f"{cell.mean:.3g}"
    text = percent(cell.mean) if cell.n else percent(cell.mean, 2)
    if cell.deviation is not None:
        return f"{text} ± {percent(cell.deviation)}"
    if cell.low is not None and cell.high is not None:
        return f"{text} [{100 * cell.low:.0f}, {100 * cell.high:.0f}]"
    return text


def _row(sheet: Sheet, row: SheetRow, below: list[SheetRow]) -> Row:
    mark = MARKS.get(row.origin)
    # a row of the paper is called so
    named = row.origin == "paper" and "paper" in row.method
    method = f"{row.method} ({mark})" if mark and not named else row.method
    if row.origin in EMPTY:
        return Row(method, [EMPTY[row.origin], *[MISSING] * (len(sheet.columns) - 1)])
    cells = [number(row.cells.get(column), column.unit) for column in sheet.columns]
    remark = f"note {below.index(row) + 1}" if row in below else row.remark
    about = (remark,) if remark else ()
    return Row(method, cells, about, style="italic" if row.printed else "")


def _notes(sheet: Sheet, below: list[SheetRow]) -> Iterator[str]:
    cells = [cell for row in sheet.rows for cell in row.cells.values()]
    images, scale = f"{sheet.scale.images} {sheet.scale.attacked}", f"Scale: {sheet.scale.about}."
    if len(sheet.seeds) > 1:
        yield f"In %, mean ± standard deviation over {len(sheet.seeds)} seeds; {images}. {scale}"
    elif any(cell.low is not None for cell in cells):
        yield f"Accuracy in % with its 95% Wilson interval, one seed; {images} attacked. {scale}"
    elif any(cell.n for cell in cells):
        yield f"One seed, {images}. {scale}"
    else:
        yield f"One seed. {scale}"
    for place, row in enumerate(below):
        yield f"Note {place + 1}, {row.method}: {row.remark}."
    yield from sheet.notes
    if missing := dict.fromkeys(row.group for row in sheet.rows if row.unavailable):
        yield f"Not measured: {', '.join(missing)} (data not available)."
    if left := dict.fromkeys(row.method for row in sheet.rows if row.reason == NOT_ASKED):
        yield f"Not measured: {'; '.join(left)} ({NOT_ASKED})."
    for row in sheet.rows:
        if row.origin == "failed":
            yield f"{row.method} failed: {row.reason}."
