"""``python -m torture [--only PART,PART]``: try all promises, print figures, write one JSON file a part."""

import importlib
import os
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

PARTS = ("kills", "inputs", "disk", "names", "memory")

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command(help=f"Try the parts {', '.join(PARTS)}; exit code 1 if a promise did not hold.")
def main(
    out: Annotated[Path, typer.Option(help="where the JSON files go")] = Path("runs/torture"),
    only: Annotated[str, typer.Option(metavar="PART,PART", help="parts to try; all by default")] = "",
    seed: Annotated[int, typer.Option(help="seed of every random choice")] = 0,
    scale: Annotated[str, typer.Option(help="full, or small for the sample that the tests run")] = "full",
    case: Annotated[
        str, typer.Option(help="try only cases whose names begin so, print the figures and write nothing")
    ] = "",
    docs: Annotated[
        bool, typer.Option(help="try nothing: put the tables of --out into docs/reliability.md")
    ] = False,
) -> None:
    from purespike.files import write_json
    from torture.report import document, finished, publish, show, written
    from torture.scenes import Desk, folder
    from torture.work import Settings, work

    if docs:
        document(out, Path("docs/reliability.md"), PARTS)
        return
    parts = [part.strip() for part in only.split(",")] if only else list(PARTS)
    for part in parts:
        if part not in PARTS:
            raise typer.BadParameter(f"unknown part {part!r}; there are {', '.join(PARTS)}")
    if scale not in ("full", "small"):
        raise typer.BadParameter(f"unknown scale {scale!r}: full or small", param_hint="--scale")
    settings, held = Settings(seed, scale), True
    with folder() as place:
        desk = Desk(place)
        for part in parts:
            path = out / f"{part}.json"
            if not case and finished(path, settings):
                typer.echo(f"{part}: done before, by this commit")
                held &= show(path.stem, written(path))
                continue
            module, begun = importlib.import_module(f"torture.{part}"), time.monotonic()
            figures = work(module.TITLE, module.cases(settings), desk, settings, case)
            content = publish(figures, part, settings, time.monotonic() - begun)
            held &= show(part, content)
            if not case:
                write_json(path, content)
    if not held:
        sys.exit(1)


if __name__ == "__main__":
    # in each of a thousand processes it would take longer than the command
    os.environ["PURESPIKE_COMPILE"] = "0"
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    from purespike.errors import InputError

    try:
        app()
    except InputError as error:
        raise SystemExit(str(error)) from error
