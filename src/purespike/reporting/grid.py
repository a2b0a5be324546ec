"""A table of text, written as Markdown, LaTeX, CSV or for the terminal, each with one escaper."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from purespike.console import plain
from purespike.reporting import escape
from purespike.results.vocabulary import MISSING

if TYPE_CHECKING:
    import rich.table


@dataclass(frozen=True)
class Head:
    """Title of a column, and a second line for it."""

    title: str
    note: str = ""


@dataclass(frozen=True)
class Cell:
    """One entry.

    Args:
        text: main text.
        notes: smaller text after it, such as an interval.
        style: ``"bold"``, ``"italic"`` or nothing.
        quiet: whether it repeats an entry of another row; LaTeX leaves it light in bold rows.
    """

    text: str
    notes: tuple[str, ...] = ()
    style: str = ""
    quiet: bool = False


@dataclass(frozen=True)
class Row:
    """One row.

    Args:
        label: entry of the first column.
        cells: entries of the other columns; plain text is a :class:`Cell` without notes.
        about: smaller text after the label: a condition, then remarks.
        style: ``"bold"``, ``"italic"`` (in LaTeX all but the label) or nothing; cells may have their own.
        once: whether the row is the same in all groups, so that a table of all groups holds it once.
    """

    label: str
    cells: Sequence[Cell | str]
    about: tuple[str, ...] = ()
    style: str = ""
    once: bool = False

    def entries(self) -> Iterator[Cell]:
        """The cells in the style of the row."""
        for cell in self.cells:
            cell = Cell(cell) if isinstance(cell, str) else cell
            yield Cell(cell.text, cell.notes, cell.style or self.style, cell.quiet)


@dataclass(frozen=True)
class Group:
    """Rows under one heading, with the notes that belong to them."""

    heading: str
    rows: Sequence[Row]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Grid:
    """A table: title, columns, groups of rows, notes.

    Args:
        title: sentence or name above the table.
        heads: one per column, that of the labels first.
        groups: groups of rows; Markdown writes one table each.
        notes: sentences below.
        align: ``"l"`` or ``"r"`` per column; labels left and all else right if not given.
        corner: whether the heading of a group takes the place of the first head.
        italic: meaning of italic entries, told after the title.
        readable: whether Markdown leaves brackets and ampersands that it would show as they are.
    """

    title: str
    heads: Sequence[Head]
    groups: Sequence[Group]
    notes: tuple[str, ...] = ()
    align: str = ""
    corner: bool = False
    italic: str = ""
    readable: bool = field(default=False, kw_only=True)

    @property
    def columns(self) -> str:
        """Alignment of every column."""
        return self.align or "l" + "r" * (len(self.heads) - 1)

    @property
    def all_notes(self) -> list[str]:
        """The notes of all groups, then the others."""
        return [*(note for group in self.groups for note in group.notes), *self.notes]

    def shared_rows(self) -> Iterator[tuple[Group, list[Row]]]:
        """Each group with its rows, without those that an earlier group holds already."""
        for place, group in enumerate(self.groups):
            yield group, [row for row in group.rows if not (place and row.once)]

    def markdown(self, title: str = "{}") -> str:
        """One table per group.

        Args:
            title: Markdown of the title, e.g. ``"**{}**"`` or ``"## {}"``.
        """
        lines = []
        if self.title:
            legend = f" *Italic*: {self._escaped(self.italic)}." if self.italic else ""
            lines += [title.format(self._escaped(self.title)) + legend, ""]
        for group in self.groups:
            heads = [
                self._escaped(f"{head.title} ({head.note})" if head.note else head.title)
                for head in self.heads
            ]
            if self.corner:
                heads[0] = self._escaped(group.heading)
            elif group.heading and (len(self.groups) > 1 or self.italic):
                lines += [f"**{self._escaped(group.heading)}**", ""]
            lines += [f"| {' | '.join(heads)} |"]
            lines += [f"|{'|'.join({'l': ':--', 'r': '--:'}[side] for side in self.columns)}|"]
            lines += [
                f"| {' | '.join([self._label(row), *map(self._entry, row.entries())])} |"
                for row in group.rows
            ]
            lines += ["", *(f"{self._escaped(note)}\n" for note in group.notes)]
        lines += [f"{self._escaped(note)}\n" for note in self.notes]
        return "\n".join(lines).rstrip() + "\n"

    def latex(self) -> str:
        """All groups in one table for ``\\input``, for the package ``booktabs``."""
        return "% needs \\usepackage{booktabs}\n" + self.latex_table()

    def latex_table(self, *, wide: bool = False) -> str:
        """See :meth:`latex`.

        Args:
            wide: whether the table is scaled to the width of the page, by the package ``graphicx``.
        """
        caption = " ".join([self.title if self.title.endswith(".") else f"{self.title}.", *self.all_notes])
        lines = ["\\begin{table}", "\\centering", f"\\caption{{{escape.latex(caption)}}}"]
        lines += ["\\resizebox{\\linewidth}{!}{%"] if wide else []
        lines += [f"\\begin{{tabular}}{{{self.columns}}}", "\\toprule", *self._latex_heads(stacked=wide)]
        for group, rows in self.shared_rows():
            lines.append("\\midrule")
            if self.corner or len(self.groups) > 1:
                face = "textbf" if self.corner else "textit"
                heading = f"\\{face}{{{escape.latex(group.heading)}}}"
                lines.append(f"\\multicolumn{{{len(self.heads)}}}{{l}}{{{heading}}} \\\\")
            lines += [
                f"{' & '.join([_latex_label(row), *map(_latex_entry, row.entries())])} \\\\" for row in rows
            ]
        lines += ["\\bottomrule", "\\end{tabular}%\n}" if wide else "\\end{tabular}", "\\end{table}", ""]
        return "\n".join(lines)

    def console(self, *, narrow: bool = False) -> rich.table.Table:
        """All groups as one rich table; smaller text is dimmed below.

        Args:
            narrow: whether columns are as narrow as their heads, and notes break over lines.
        """
        from rich import box
        from rich.table import Table
        from rich.text import Text

        table = Table(
            title=Text(plain(self.title)),
            title_justify="left",
            caption=Text(plain("\n".join(self.all_notes))),
            caption_justify="left",
            box=box.SIMPLE_HEAD,
            show_edge=False,
            padding=0,
        )
        for place, (head, side) in enumerate(zip(self.heads, self.columns, strict=True)):
            width = max(len(head.title), 6) if narrow and place else None
            table.add_column(head.title, justify="right" if side == "r" else "left", width=width)
        for _, rows in self.shared_rows():
            for row in rows:
                label = Text.assemble(plain(row.label), *((f"\n{plain(text)}", "dim") for text in row.about))
                cells = [
                    Text.assemble(
                        (plain(cell.text), cell.style), (plain("\n" + "\n".join(cell.notes)), "dim not bold")
                    )
                    for cell in row.entries()
                ]
                table.add_row(label, *cells, style=row.style)
            table.add_section()
        return table

    def _escaped(self, text: str) -> str:
        return escape.markdown(text, readable=self.readable)

    def _label(self, row: Row) -> str:
        text = _marked(self._escaped(row.label), row.style)
        condition, *remarks = row.about or ("",)
        text += f" ({self._escaped(condition)})" if condition else ""
        return ", ".join([text, *map(self._escaped, remarks)])

    def _entry(self, cell: Cell) -> str:
        text, notes = self._escaped(cell.text), [self._escaped(note) for note in cell.notes]
        if cell.style == "bold":
            return " ".join([_marked(text, "bold"), *notes])
        return _marked(" ".join([text, *notes]), "" if cell.text == MISSING else cell.style)

    def _latex_heads(self, *, stacked: bool) -> list[str]:
        titles = [escape.latex(head.title) for head in self.heads]
        notes = [escape.latex(head.note) for head in self.heads]
        if stacked:
            titles = [
                f"\\shortstack[b]{{{title}\\\\ {{\\tiny {note}}}}}" if note else title
                for title, note in zip(titles, notes, strict=True)
            ]
            return [f"{' & '.join(titles)} \\\\"]
        lines = [titles, [f"({note})" if note else "" for note in notes]]
        return [f"{' & '.join(line)} \\\\" for line in (lines if self.corner or any(notes) else lines[:1])]


def csv_text(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Comma-separated values under their heads; ``None`` is an empty field, and no text a formula."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(heads)
    writer.writerows([_inert(value) for value in row] for row in rows)
    return text.getvalue()


def _inert(value: object) -> object:
    """A text without control characters, after an apostrophe if a spreadsheet would calculate it."""
    if not isinstance(value, str):
        return value
    text = plain(value)
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t")) else text


def _marked(text: str, style: str) -> str:
    mark = {"bold": "**", "italic": "*"}.get(style, "") if text else ""
    return f"{mark}{text}{mark}"


def _latex_label(row: Row) -> str:
    small = escape.latex(", ".join(row.about))
    text = escape.latex(row.label) + (f" {{\\scriptsize {small}}}" if small else "")
    return f"\\textbf{{{text}}}" if row.style == "bold" else text


def _latex_entry(cell: Cell) -> str:
    small = escape.latex(" ".join(cell.notes))
    text = escape.latex(cell.text) + (f" {{\\scriptsize {small}}}" if small else "")
    face = {"bold": "" if cell.quiet else "textbf", "italic": "textit"}.get(cell.style, "")
    return f"\\{face}{{{text}}}" if face else text
