"""Commands that attack models: evaluate, transfer, leaderboard."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from purespike.cli.names import check_device, check_names
from purespike.cli.options import Beside, Data, Device, Model, Split, app, start, takes_settings
from purespike.cli.temporal import temporal_line
from purespike.console import show

if TYPE_CHECKING:
    from torch import nn


@app.command()
@takes_settings(suite="quick", threats="all")
def evaluate(
    model: Model,
    data: Data = None,
    split: Split = "test",
    purifier: Annotated[
        str | None, typer.Option(help="Put this purifier before MODEL: checkpoint or module:function.")
    ] = None,
    substitutes: Annotated[
        list[str],
        typer.Option(
            "--substitute",
            metavar="[NAME=]MODEL",
            help="An attacker's own model, for the threat model transfer; may be repeated.",
        ),
    ] = [],  # noqa: B006
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Write evaluation.json, report.html and more here.")
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="Name of the model in a leaderboard.", show_default="MODEL's")
    ] = None,
    beside: Beside = [],  # noqa: B006
    save: Annotated[
        Path | None,
        typer.Option(help="Write the adversarial images here, as npz and PNG, and judge the PNG again."),
    ] = None,
    corrupted: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Measure corrupted images too, side by side: NAME.npy and labels.npy as in CIFAR-10-C.",
        ),
    ] = None,
    temporal: Annotated[
        bool,
        typer.Option(
            "--temporal",
            help="Also print temporal information: the Fisher trace of the weights by time step.",
        ),
    ] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with 3 unless the verdict is reliable.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Seed of every random draw.")] = 0,
    device: Device = "auto",
    *,
    settings: dict[str, Any],
) -> None:
    """Attack a model, purified or not, and print its accuracy under each threat model, and a verdict."""
    import contextlib

    models = [model, *([purifier] if purifier else []), *map(place_of, substitutes)]
    check_names(settings, models, data=data, split=split)
    check_device(device)
    from purespike.data import given_images, labelled_for, load_images
    from purespike.environment import provenance
    from purespike.evaluation import evaluate as measure
    from purespike.evaluation.inputs import check_beside, describe_model
    from purespike.evaluation.plan import resolve as check
    from purespike.files import write_json
    from purespike.models import Defended
    from purespike.models.resolve import model_name, named, resolve
    from purespike.reporting.artefacts import write_artefacts
    from purespike.reporting.comparison import comparison_grid
    from purespike.reporting.corrupted import beside_grid
    from purespike.reporting.tables import console_table
    from purespike.results import Comparison, read_beside
    from purespike.run_folder import check_output, in_use
    from purespike.settings import EvaluationSettings
    from purespike.training.engine import main_first

    accelerator = start(device)
    given = EvaluationSettings.of(**settings)
    chosen = check(given)
    name = name or model_name(model)
    others = read_beside(beside, name=name, folder=out)
    if out is not None:
        check_output(out)
    attacked = defend(model, purifier)
    if out is not None:
        check_output(out, describe_model(attacked))
    source = source_of(data, model, *([purifier] if purifier else []))
    with main_first(accelerator):
        pictures = load_images(source, split=split)
    if others:
        check_beside(others, given_images(pictures, attacked), chosen, seed=seed)
    foreign = {key: resolve(place) for key, place in named(substitutes).items()}
    information = None
    if temporal:
        # first: a classifier that has none is refused before hours of attacks
        information = temporal_line(attacked, labelled_for(attacked, pictures), accelerator.device)
    with in_use(out, by=accelerator.is_main_process) if out else contextlib.nullcontext():
        evaluation = measure(
            attacked,
            pictures,
            # not what the suite stands for: of that, what cannot apply is left out
            given,
            substitutes=foreign,
            seed=seed,
            accelerator=accelerator,
            folder=out / "checkpoint" / "evaluation" if out else None,
            save=save,
            corrupted=corrupted,
        )
        if not accelerator.is_main_process:
            return
        show(console_table(evaluation))
        if evaluation.corrupted is not None:
            show(beside_grid(evaluation).console())
        show(evaluation.verdict_line)
        if information is not None:
            show(information)
        if not isinstance(attacked, Defended):
            show("No purifier: give one with --purifier to measure its effect.")
        if others:
            show(comparison_grid(Comparison.of(name, evaluation, others)).console())
        if out:
            write_json(out / "environment.json", provenance(seed=seed, device=accelerator.device))
            show(f"report: {write_artefacts(evaluation, out, name=name, beside=others)}")
    if strict and evaluation.level != "reliable":
        show(f"--strict: exit code 3, since the evaluation is {evaluation.level}")
        raise typer.Exit(3)


@app.command()
@takes_settings(
    *("attacks", "eps", "norm", "images", "batch_size"),
    help={"attacks": "Comma-separated; settings after colons, e.g. fgsm,pgd:steps=20."},
    attacks="fgsm,pgd:steps=5,pgd:steps=10,pgd:steps=20",
)
def transfer(
    substitutes: Annotated[
        list[str],
        typer.Option("--substitute", metavar="[NAME=]MODEL", help="Model to attack; may be repeated."),
    ],
    targets: Annotated[
        list[str],
        typer.Option(
            "--target", metavar="[NAME=]MODEL", help="Model to judge on the images; may be repeated."
        ),
    ],
    data: Data = None,
    split: Split = "test",
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Write transfer.json and its figure here.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of every random draw.")] = 0,
    device: Device = "auto",
    *,
    settings: dict[str, Any],
) -> None:
    """Attack every substitute, and judge every target on the images: threat model transfer."""
    import contextlib

    check_names(settings, [place_of(spec) for spec in (*substitutes, *targets)], data=data, split=split)
    from purespike.data import load_images
    from purespike.errors import InputError
    from purespike.evaluation import transfer_matrix
    from purespike.experiment import training_images
    from purespike.files import write_bytes
    from purespike.models.resolve import named, resolve
    from purespike.reporting.drawing import png
    from purespike.reporting.matrix import transfer_heatmap
    from purespike.reporting.matrix_tables import markdown_matrix
    from purespike.run_folder import check_folder, in_use
    from purespike.settings import EvaluationSettings
    from purespike.training.engine import main_first

    check_folder(out)
    accelerator = start(device)
    EvaluationSettings.of(**settings)
    attacked, judged = named(substitutes), named(targets)
    # a model named on both sides is one object, by which the white-box entry is recognised
    models = {place: resolve(place) for place in (*attacked.values(), *judged.values())}
    source = source_of(data, *judged.values())
    trained_on = {}
    with main_first(accelerator):
        pictures = load_images(source, split=split)
        for key, place in (attacked | judged).items():
            # training images are reported where known, but not required
            with contextlib.suppress(InputError):
                if (found := training_images(place)) is not None:
                    trained_on[key] = found
    with in_use(out, by=accelerator.is_main_process) if out else contextlib.nullcontext():
        matrix = transfer_matrix(
            {key: models[place] for key, place in attacked.items()},
            {key: models[place] for key, place in judged.items()},
            pictures,
            trained_on=trained_on,
            seed=seed,
            accelerator=accelerator,
            folder=out / "checkpoint" / "transfer" if out else None,
            **settings,
        )
        if not accelerator.is_main_process:
            return
        show(markdown_matrix(matrix))
        if out:
            matrix.save(out / "transfer.json")
            write_bytes(out / "figures" / "transfer.png", png(transfer_heatmap(matrix)))
            show(f"matrix: {out / 'transfer.json'}")


@app.command()
def leaderboard(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="Folder of evaluations, at any depth.", show_default=False)
    ],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder of the tables.", show_default="DIR")
    ] = None,
) -> None:
    """Rank the models of many evaluations, in HTML, Markdown, CSV and LaTeX."""
    from purespike.leaderboard.rendering import write_leaderboard
    from purespike.run_folder import check_folder

    check_folder(out)
    show(f"leaderboard: {write_leaderboard(folder, out or folder, say=show)}")


def place_of(spec: str) -> str:
    """The model of ``[NAME=]MODEL``."""
    name, equals, model = spec.partition("=")
    return model if equals else name


def source_of(data: str | None, *places: str) -> str:
    """The source that was given, or that of the runs; never a default of another task."""
    from purespike.errors import InputError

    if data is not None:
        return data
    known = {source for place in places if (source := source_named(place)) is not None}
    if len(known) != 1:
        why = "the runs name different sources" if known else f"{places[0]} is not a run folder"
        raise InputError(f"--data is required: {why}; e.g. --data cifar10")
    return known.pop()


def source_named(place: str) -> str | None:
    """The data source of a model: that of its entry in the zoo, or of its run's recipe; ``None`` elsewhere.

    Raises:
        InputError: no such model of the zoo, or the recipe is damaged.
    """
    from purespike.experiment import recipe_of
    from purespike.zoo.catalogue import read_entry
    from purespike.zoo.names import PREFIX

    if place.startswith(PREFIX):
        return read_entry(place).data
    recipe = recipe_of(place)
    return None if recipe is None else recipe.data.source


def defend(name: str, purifier: str | None) -> "nn.Module":
    """The model called ``name``, behind ``purifier`` if there is one.

    Raises:
        InputError: a second purifier, or a run folder whose purifier belongs to another classifier.
    """
    from purespike.errors import InputError
    from purespike.models import Defended
    from purespike.models.resolve import resolve
    from purespike.training.origin import made_for

    model, folder = resolve(name), Path(name)
    if folder.is_dir() and isinstance(model, Defended) and not made_for(folder, model.classifier):
        raise InputError(
            f"{name}: its purifier was trained for another classifier; to have them together all the same: "
            f"{folder / 'classifier.safetensors'} --purifier {folder / 'purifier.safetensors'}"
        )
    if purifier is None:
        return model
    if isinstance(model, Defended):
        raise InputError("--purifier: MODEL already has one; give its classifier alone")
    part = resolve(purifier)
    if not made_for(Path(purifier), model):
        show(
            f"{purifier}: was trained for another classifier; `purespike train purifier` makes one for MODEL"
        )
    return Defended(part.purifier if isinstance(part, Defended) else part, model).eval()
