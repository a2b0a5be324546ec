"""``python -m shipping weights`` puts committed runs into the package, ``… cards`` measures them."""

import json
from pathlib import Path
from typing import Annotated

import typer

from shipping.models import KINDS, SHIPPED, Shipped

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, no_args_is_help=True)


@app.command()
def weights() -> None:
    """Write the weights of all runs there are, halved, and their entries; equal ones keep their card."""
    for base, shipped in SHIPPED.items():
        for suffix in KINDS:
            name, run = base + suffix, Path(shipped.holding if suffix == "-holding" else shipped.paper)
            if not (run / "purifier.safetensors").is_file():
                typer.echo(f"{name}: left out: no {run}")
                continue
            typer.echo(f"{name}: {_ship(name, base, suffix, shipped, run)}")


@app.command()
def cards(
    names: Annotated[list[str] | None, typer.Argument(help="models; all without a card by default")] = None,
    data: Annotated[list[str], typer.Option(metavar="SET=SOURCE", help="images in place of a download")] = [],  # noqa: B006
    out: Annotated[Path, typer.Option(help="folder of the evaluations")] = Path("runs/zoo"),
) -> None:
    """Attack the shipped models as they are shipped, and write what they withstand into their entries.

    An evaluation that `out` holds is read back. Entries are written last: they are tracked files, and a
    result is measured from a clean checkout.
    """
    import purespike as ps
    from purespike.results.make_card import make_card
    from purespike.zoo.loading import names as known
    from purespike.zoo.names import ENTRIES

    sources = dict(pair.split("=", 1) for pair in data)
    chosen = names or [each for each in known() if ps.zoo.entry(each).card is None]
    for name in chosen:
        entry, kept = ps.zoo.entry(name), out / name / "evaluation.json"
        if not kept.is_file():
            ps.evaluate(
                entry.load(),
                sources.get(entry.data, entry.data),
                folder=out / name / "checkpoint",
                **entry.evaluation,
            ).save(kept)
    for name in chosen:
        entry = ps.zoo.entry(name)
        evaluation = ps.Evaluation.read(out / name / "evaluation.json")
        card = make_card(evaluation, name=name, eps=entry.evaluation["eps"][0])
        # a local copy of the images holds the same ones
        card = card.model_copy(update={"dataset": entry.data})
        entry.model_copy(update={"card": card}).save(ENTRIES / f"{name}.json")
        typer.echo("\n".join(ps.zoo.entry(name).lines()))


@app.command()
def page(
    path: Annotated[Path, typer.Argument(help="Markdown page with the mark")] = Path("docs/zoo.md"),
) -> None:
    """Put the table of all cards into the page."""
    from shipping.page import document

    document(path)


def _ship(name: str, base: str, suffix: str, shipped: Shipped, run: Path) -> str:
    from purespike.models import load, save
    from purespike.recipe import load_recipe
    from purespike.results.record import read_json
    from purespike.zoo.catalogue import WEIGHTS, Entry, Part, Training
    from purespike.zoo.loading import digest
    from purespike.zoo.names import ENTRIES

    files = {"classifier": (Path(shipped.paper), f"{base}-classifier")}
    if suffix:
        files["purifier"] = (run, f"{name}-purifier")
    parts = {}
    for part, (source, stem) in files.items():
        path = WEIGHTS / f"{stem}.safetensors"
        save(load(source / f"{part}.safetensors"), path, half=True)
        parts[part] = Part(file=path.name, sha256=digest(path))
    origin = read_json(run / "environment.json")
    training = Training(
        recipe=json.loads(load_recipe(run / "recipe.yaml").model_dump_json()),
        **{key: origin.get(key) for key in ("command", "commit", "date")},
    )
    entry = Entry(
        name=name,
        about=f"{shipped.about}: {KINDS[suffix]}",
        data=shipped.data,
        training=training,
        evaluation=shipped.settings(bool(suffix)),
        **parts,
    )
    path = ENTRIES / f"{name}.json"
    if path.is_file():
        former = Entry.read(path)
        same = (former.classifier, former.purifier, former.evaluation) == (
            entry.classifier,
            entry.purifier,
            entry.evaluation,
        )
        entry = entry.model_copy(update={"card": former.card}) if same else entry
    entry.save(path)
    return f"{sum((WEIGHTS / part.file).stat().st_size for part in entry.parts):,} bytes"


if __name__ == "__main__":
    app()
