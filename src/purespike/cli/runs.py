"""Commands that train a model and use it: run, train, purify, info."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from purespike.cli.options import Device, Model, Out, Precision, RecipePath, Seed, Settings, app, start
from purespike.console import show

if TYPE_CHECKING:
    from purespike.experiment import Run


class Stage(StrEnum):
    classifier = "classifier"
    purifier = "purifier"


@app.command()
def run(
    recipe: RecipePath,
    out: Out = None,
    seed: Seed = None,
    settings: Settings = [],  # noqa: B006
    device: Device = "auto",
    precision: Precision = "fp32",
) -> None:
    """Train a classifier and a purifier, attack them, and write a report. Run again to resume."""
    from purespike.reporting.tables import console_table

    runner = _runner(recipe, out, seed, settings, device, precision)
    evaluation, report = runner()
    if runner.accelerator.is_main_process:
        show(console_table(evaluation))
        if evaluation.verdict is not None:
            show(str(evaluation.verdict))
        show(f"report: {report}")


@app.command()
def train(
    stage: Annotated[Stage, typer.Argument(help="Stage to train.")],
    recipe: RecipePath,
    out: Out = None,
    classifier: Annotated[
        str | None,
        typer.Option(help="For the purifier: defend this model (checkpoint or module:function) instead."),
    ] = None,
    seed: Seed = None,
    settings: Settings = [],  # noqa: B006
    device: Device = "auto",
    precision: Precision = "fp32",
) -> None:
    """Train one stage of a recipe. Run again to resume."""
    from purespike.errors import InputError
    from purespike.models.resolve import resolve

    if classifier is not None and stage is not Stage.purifier:
        raise InputError("--classifier: goes with `train purifier` only")
    given = None if classifier is None else resolve(classifier)
    runner = _runner(recipe, out, seed, settings, device, precision)
    with runner:
        data = runner.data()
        if stage is Stage.purifier:
            runner.purifier(data, runner.classifier(data) if given is None else runner.adopt(given))
        else:
            runner.classifier(data)
    if runner.accelerator.is_main_process:
        show(f"{stage.value}: {runner.folder / stage.value}.safetensors")


@app.command()
def purify(
    source: Annotated[Path, typer.Argument(metavar="IN", help="An image file, or a folder of images.")],
    target: Annotated[Path, typer.Argument(metavar="OUT", help="Output file or folder.")],
    model: Annotated[
        str, typer.Option("--model", "-m", help="Purifier: checkpoint, run folder or module:function.")
    ],
    device: Device = "auto",
) -> None:
    """Purify image files; size and format stay the same."""
    from purespike.models.resolve import resolve
    from purespike.pictures import purify_files

    accelerator = start(device)
    count = purify_files(resolve(model), source, target, device=accelerator.device)
    show(f"{count} image{'s' if count != 1 else ''} purified: {target}")


@app.command()
def info(model: Model, device: Device = "auto") -> None:
    """Describe a model: architecture, parameters, cost of an image, and firing rates of its neurons."""
    from purespike.description import describe
    from purespike.models.resolve import resolve

    for part in describe(resolve(model), device=start(device).device):
        show(part)


def _runner(
    path: Path, out: Path | None, seed: int | None, settings: list[str], device: str, precision: str
) -> "Run":
    from purespike.experiment import Run
    from purespike.recipe import load_recipe

    overrides = [*settings, *([f"seed={seed}"] if seed is not None else [])]
    recipe = load_recipe(path, overrides)
    return Run(recipe, out or Path("runs") / path.stem, start(device, precision))
