"""The command zoo: models that ship with purespike."""

from typing import Annotated

import typer

from purespike.cli.options import app
from purespike.console import show


@app.command()
def zoo(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="Show all about one of them; lists all if not given.")
    ] = None,
) -> None:
    """List the models that ship with purespike, with their accuracies; zoo:NAME stands for one everywhere."""
    from purespike.zoo.catalogue import read_entry
    from purespike.zoo.names import entry_names

    if name is not None:
        for line in read_entry(name).lines():
            show(line)
        return
    for each in entry_names():
        entry = read_entry(each)
        show(f"zoo:{each}: {entry.about}")
        card = entry.card
        if card is not None and card.clean_acc is not None and card.worst_case is not None:
            show(
                f"  clean {card.clean_acc:.1f}%, worst case per image at {card.budget} "
                f"{card.worst_case:.1f}% of {card.images} images, verdict {card.level}"
            )
