"""The command that describes recipes: every key, and every name that a recipe may hold."""

from typing import Annotated

import typer

from purespike.cli.options import app
from purespike.console import show


@app.command("recipe")
def describe_recipe(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="[NAME]",
            help="A section, a key, a kind of name (attacks, codings, …), or a name (pgd).",
        ),
    ] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print all of it, as Markdown.")] = False,
) -> None:
    """Describe what a recipe may say: sections, keys, defaults, ranges, and the names of everything.

    The same names work after --set, and those of evaluation as options of purespike evaluate.
    """
    from purespike.reference import find, recipe_page
    from purespike.reference.console import lines, overview

    if markdown:
        typer.echo(recipe_page(), nl=False)
        return
    if name is None:
        for line in overview():
            show(line)
        return
    for heading, topic in find(name):
        for line in lines(heading, topic):
            show(line)
