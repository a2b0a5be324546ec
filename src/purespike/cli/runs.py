"""Commands that train a model and use it: run, train, purify, info."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from purespike.cli.names import check_models, check_source, completion
from purespike.cli.options import (
    Beside,
    Device,
    Half,
    Model,
    Out,
    Precision,
    RecipePath,
    Seed,
    Settings,
    Track,
    app,
    start,
)
from purespike.cli.temporal import MEASURED, temporal_line
from purespike.console import show

if TYPE_CHECKING:
    from purespike.experiment import Run
    from purespike.recipe import Recipe


Classifier = Annotated[
    str | None,
    typer.Option(
        help="Defend this model (checkpoint, run folder or module:function) instead of training the recipe's."
    ),
]


Minutes = Annotated[
    float | None,
    typer.Option(
        min=0.01,
        help="Time for all: two ninths to train the classifier, five the purifier, the rest is for attacks.",
        show_default="the recipe's epochs",
    ),
]
_SHARES = {"classifier": 2 / 9, "purifier": 5 / 9}


@app.command()
def run(
    recipe: RecipePath,
    out: Out = None,
    classifier: Classifier = None,
    minutes: Minutes = None,
    beside: Beside = [],  # noqa: B006
    seed: Seed = None,
    settings: Settings = [],  # noqa: B006
    device: Device = "auto",
    precision: Precision = "fp32",
    half: Half = False,
    track: Track = None,
) -> None:
    """Train a classifier and a purifier, attack them, and write a report. Run again to resume."""
    shares = {} if minutes is None else {stage: share * minutes for stage, share in _SHARES.items()}
    timed = [f"{stage}.minutes={share:g}" for stage, share in shares.items()]
    chosen = _read(recipe, seed, [*timed, *settings], classifier)
    from purespike.results import Comparison, read_beside

    folder = out or _folder(recipe)
    name = folder.absolute().name
    others = read_beside(beside, name=name, folder=folder)
    from purespike.reporting.comparison import comparison_grid
    from purespike.reporting.tables import console_table

    runner = _runner(chosen, recipe, folder, device, precision, half=half, track=track)
    evaluation, report = runner(others)
    if runner.accelerator.is_main_process:
        show(console_table(evaluation))
        if evaluation.verdict is not None:
            show(str(evaluation.verdict))
        if others:
            show(comparison_grid(Comparison.of(name, evaluation, others)).console())
        show(f"report: {report}")


stages = typer.Typer(
    name="train",
    help="Train one stage of a recipe: the classifier, or the purifier. Run again to resume.",
    no_args_is_help=True,
)
app.add_typer(stages)


@stages.command("classifier")
def train_classifier(
    recipe: RecipePath,
    out: Out = None,
    seed: Seed = None,
    settings: Settings = [],  # noqa: B006
    device: Device = "auto",
    precision: Precision = "fp32",
    half: Half = False,
    track: Track = None,
) -> None:
    """Train the classifier of a recipe: architecture, objective and schedule are its section classifier.

    Run again to resume.
    """
    with _runner(
        _read(recipe, seed, settings), recipe, out, device, precision, half=half, track=track
    ) as runner:
        runner.classifier(runner.data())
        _say_trained(runner, "classifier")


@stages.command("purifier")
def train_purifier(
    recipe: RecipePath,
    out: Out = None,
    classifier: Classifier = None,
    seed: Seed = None,
    settings: Settings = [],  # noqa: B006
    device: Device = "auto",
    precision: Precision = "fp32",
    half: Half = False,
    track: Track = None,
) -> None:
    """Train the purifier of a recipe in front of a frozen classifier: the recipe's, trained first if missing.

    Run again to resume.
    """
    with _runner(
        _read(recipe, seed, settings, classifier), recipe, out, device, precision, half=half, track=track
    ) as runner:
        data = runner.data()
        runner.purifier(data, runner.classifier(data))
        _say_trained(runner, "purifier")


def _say_trained(runner: "Run", stage: str) -> None:
    if runner.accelerator.is_main_process:
        show(f"{stage}: {runner.folder / stage}.safetensors")


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
    check_models(model)
    from purespike.models.resolve import resolve
    from purespike.pictures import purify_files

    accelerator = start(device)
    count = purify_files(resolve(model), source, target, device=accelerator.device, say=show)
    show(f"{count} image{'s' if count != 1 else ''} purified: {target}")


@app.command()
def info(
    model: Model,
    device: Device = "auto",
    temporal: Annotated[
        str | None,
        typer.Option(
            metavar="DATA",
            help="Also measure temporal information, the Fisher trace of the weights by time step, on "
            f"{MEASURED} test images of this data set.",
            autocompletion=completion("data"),
        ),
    ] = None,
) -> None:
    """Describe a model: architecture, parameters, cost of an image, and firing rates of its neurons."""
    check_models(model)
    if temporal is not None:
        check_source(temporal)
    from purespike.description import describe
    from purespike.models.resolve import resolve

    found, place = resolve(model), start(device).device
    for part in describe(found, device=place):
        show(part)
    if temporal is not None:
        from purespike.data import load_data

        show(f"{temporal}, {temporal_line(found, load_data(temporal).test, place)}")


def _read(path: Path, seed: int | None, settings: list[str], classifier: str | None = None) -> "Recipe":
    """The recipe of a command, with the names of data and model checked before PyTorch is imported."""
    from purespike.recipe import load_recipe

    given = [] if seed is None else [f"seed={seed}"]
    given += [] if classifier is None else [f"classifier.source={json.dumps(classifier)}"]
    recipe = load_recipe(path, [*settings, *given])
    check_source(recipe.data.source)
    if recipe.classifier.source is not None:
        check_models(recipe.classifier.source)
    return recipe


def _runner(
    recipe: "Recipe",
    path: Path,
    out: Path | None,
    device: str,
    precision: str,
    *,
    half: bool,
    track: str | None,
) -> "Run":
    from purespike.experiment import Run

    return Run(recipe, out or _folder(path), start(device, precision), half=half, track=track)


def _folder(recipe: Path) -> Path:
    return Path("runs") / recipe.stem
