"""The command that reads somebody's table of robust accuracies."""

from pathlib import Path
from typing import Annotated

import typer

from purespike.cli.options import app
from purespike.console import show


@app.command()
def check(
    table: Annotated[
        Path,
        typer.Argument(
            metavar="TABLE.csv",
            help="Columns name, clean and one per attack, such as FGSM, PGD-7, AA or pgd:steps=7@8/255; "
            "accuracies in percent.",
        ),
    ],
    eps: Annotated[
        str | None,
        typer.Option(help="Budget of attacks that neither column nor row gives one.", show_default="unknown"),
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="JSON file to write.")] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with code 3 unless every row is reliable.")
    ] = False,
) -> None:
    """Check a paper's table: what contradicts what, what is missing, what to ask the authors."""
    from purespike.errors import InputError
    from purespike.review import read_table, review

    if out is not None and out.is_dir():
        raise InputError(f"{out}: is a folder; --out names a JSON file")
    found = review(read_table(table, eps=eps))
    for row in found.rows:
        show(f"{row.name}: {row.verdict.level if row.findings else 'no contradiction'}")
        for finding in row.findings:
            show(f"  {finding.name}: {finding.message}; {finding.advice}")
    if found.questions:
        show("To ask the authors:")
        for question in found.questions:
            show(f"  {question}")
    if out is not None:
        found.save(out)
        show(f"review: {out}")
    if strict and found.verdict.level != "reliable":
        raise typer.Exit(3)
