"""The command that shows a page to play with: demo."""

import contextlib
from pathlib import Path
from typing import Annotated

import typer

from purespike.cli.evaluations import defend, place_of, source_named
from purespike.cli.names import check_names
from purespike.cli.options import Device, app, start
from purespike.console import show


@app.command()
def demo(
    models: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[[NAME=]MODEL]...",
            help="Checkpoints, run folders or module:function; those of one classifier stand side by side.",
            show_default="the weights that come with purespike",
        ),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            help="Images to choose from, loaded even if that is a download.", show_default="the runs' own"
        ),
    ] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port on 127.0.0.1; 0 for a free one.")] = 7860,
    limit: Annotated[
        float, typer.Option(min=1, help="Seconds that one attack or certificate may take.")
    ] = 120.0,
    device: Device = "auto",
) -> None:
    """Show a page on this machine that attacks an image step by step, bare and behind purifiers."""
    names = list(models or [])
    check_names({}, [place_of(name) for name in names], data=data)
    from purespike.demo import line_up
    from purespike.demo.page import library
    from purespike.demo.serving import serve
    from purespike.demo.shipped import shipped, title_of
    from purespike.models.resolve import named

    library()
    accelerator = start(device)
    if names:
        places = named(names)
        found = {name: defend(place, None) for name, place in places.items()}
        sources = {name: _sources(place) for name, place in places.items()}
    else:
        found, sources = shipped()
    titles = {} if names else {name: title_of(name) for name in found}
    lineups = line_up(found, sources=sources, data=data, titles=titles)
    serve(lineups, port=port, limit=limit, device=accelerator.device, say=show)


def _sources(place: str) -> list[str]:
    """Names of the images of a run: those in its recipe, and those in its evaluation, which copies keep."""
    from purespike.errors import InputError
    from purespike.results import Evaluation

    source = source_named(place)
    found = [] if source is None else [source]
    folder = Path(place) if Path(place).is_dir() else Path(place).parent
    # a run that was not evaluated is shown as well
    with contextlib.suppress(InputError):
        found.append(Evaluation.read(folder / "evaluation.json").data.source)
    return list(dict.fromkeys(found))
