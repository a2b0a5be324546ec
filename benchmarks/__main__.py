"""``python -m benchmarks [NAME ...]``: measure, print tables, write one JSON file per benchmark."""

import importlib
import os
from pathlib import Path
from typing import Annotated

import torch
import typer

from benchmarks.measure import Settings
from benchmarks.report import document, publish
from purespike.allocator import keep_freed_memory
from purespike.errors import InputError
from purespike.files import write_json

NAMES = (
    *("neuron", "training_step", "attack_step", "ensemble", "purifier", "scaling", "certification"),
    "defences",
)

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command(help=f"Run the benchmarks called {', '.join(NAMES)}; all of them by default.")
def main(
    names: Annotated[list[str] | None, typer.Argument(metavar="NAME...")] = None,
    device: Annotated[str, typer.Option(help="cpu or cuda")] = "cpu",
    threads: Annotated[int, typer.Option(help="CPU threads; one is the least noisy")] = 1,
    batch: Annotated[int, typer.Option(help="images a step; default 16 on a CPU, 256 on a GPU")] = 0,
    repeats: Annotated[int, typer.Option(help="interleaved rounds that the medians are taken over")] = 5,
    out: Annotated[Path, typer.Option(help="where the JSON files go")] = Path("runs/benchmarks"),
    docs: Annotated[
        bool, typer.Option(help="measure nothing: put the tables of --out into docs/performance.md")
    ] = False,
) -> None:
    if docs:
        document(out, Path("docs/performance.md"), NAMES)
        return
    for name in names or NAMES:
        if name not in NAMES:
            raise typer.BadParameter(f"unknown benchmark {name!r}; there are {', '.join(NAMES)}")
    if device == "cuda" and not torch.cuda.is_available():
        raise typer.BadParameter("PyTorch sees no CUDA GPU here", param_hint="--device")
    torch.set_num_threads(threads)
    # page faults would fall on this side now, on that one then
    keep_freed_memory(large=True)
    settings = Settings(
        device=device, threads=threads, batch=batch or (256 if device == "cuda" else 16), repeats=repeats
    )
    out.mkdir(parents=True, exist_ok=True)
    for name in names or NAMES:
        result = importlib.import_module(f"benchmarks.{name}").run(settings)
        write_json(out / f"{name}.json", publish(name, result, settings))
        for kind, figure in result.figures.items():
            figure.savefig(out / f"{name}-{kind}.png", dpi=110)


if __name__ == "__main__":
    # as users have it, whatever the shell that tests were run in says
    os.environ.pop("PURESPIKE_COMPILE", None)
    try:
        app()
    except InputError as error:
        raise SystemExit(str(error)) from error
