"""Commands that attack models: evaluate, transfer, leaderboard."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from purespike.cli.options import BatchSize, Data, Device, Images, Model, app, start
from purespike.console import show

if TYPE_CHECKING:
    from torch import nn


@app.command()
def evaluate(
    model: Model,
    data: Data = None,
    purifier: Annotated[
        str | None, typer.Option(help="Put this purifier before MODEL: checkpoint or module:function.")
    ] = None,
    suite: Annotated[
        str, typer.Option(help="quick, standard, full or table4: which attacks and surrogates.")
    ] = "quick",
    attacks: Annotated[
        str | None,
        typer.Option(
            help="Instead of a suite's, comma-separated; settings after colons, e.g. fgsm,pgd:steps=20.",
            show_default="the suite's",
        ),
    ] = None,
    surrogates: Annotated[
        str | None,
        typer.Option(
            help="Instead of a suite's, what the adaptive attacker differentiates, comma-separated.",
            show_default="the suite's",
        ),
    ] = None,
    eps: Annotated[
        str, typer.Option(help="Budgets, comma-separated: L∞ in pixel units, or L2 radii.")
    ] = "8/255",
    norm: Annotated[str, typer.Option(help="linf or l2.")] = "linf",
    threat: Annotated[
        str,
        typer.Option(
            help="undefended, oblivious, bpda, adaptive, transfer, query (comma-separated), or all."
        ),
    ] = "all",
    substitutes: Annotated[
        list[str],
        typer.Option(
            "--substitute",
            metavar="[NAME=]MODEL",
            help="An attacker's own model, for the threat model transfer; may be repeated.",
        ),
    ] = [],  # noqa: B006
    eot: Annotated[
        int | None,
        typer.Option(
            help="Gradients averaged against a model that draws.", show_default="20, or 1 if it does not"
        ),
    ] = None,
    passes: Annotated[
        int | None,
        typer.Option(help="Passes that judge a model that draws.", show_default="10, or 1 if it does not"),
    ] = None,
    images: Images = None,
    batch_size: BatchSize = 128,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Write evaluation.json, report.html and more here.")
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="What a leaderboard calls the model.", show_default="MODEL's")
    ] = None,
    diagnose: Annotated[
        int, typer.Option(help="Examine the evaluation itself on so many images; 0 for not at all.")
    ] = 32,
    max_cost: Annotated[
        int, typer.Option(help="Let a budget that proves too small rise to so many gradients an image.")
    ] = 400,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with 3 unless the verdict is reliable.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Of every random draw.")] = 0,
    device: Device = "auto",
) -> None:
    """Attack a model, purified or not, and print its accuracy under each threat model, and a verdict."""
    from purespike.attacks.text import parse_attacks, parse_surrogates
    from purespike.checks import check_steps
    from purespike.data import load_data
    from purespike.environment import provenance
    from purespike.errors import InputError
    from purespike.evaluation import evaluate as measure
    from purespike.evaluation.plan import suite as select_suite
    from purespike.files import write_json
    from purespike.models import Defended
    from purespike.models.resolve import model_name, named, resolve
    from purespike.reporting.artefacts import write_artefacts
    from purespike.reporting.tables import console_table
    from purespike.results import Evaluation
    from purespike.training.engine import main_first

    accelerator = start(device)
    check_steps(batch_size, name="batch_size")
    for option, value in {"images": images, "eot": eot, "passes": passes}.items():
        if value is not None:
            check_steps(value, name=option)
    if out is not None and (out / "recipe.yaml").exists():
        raise InputError(f"{out}: is a run folder with an evaluation of its own; choose another --out")
    chosen = select_suite(suite, norm)
    attacked = _defend(resolve(model), purifier)
    source = _source(data, model, *([purifier] if purifier else []))
    with main_first(accelerator):
        pictures = load_data(source).test
    evaluation = measure(
        attacked,
        pictures,
        attacks=parse_attacks(attacks) if attacks else chosen.attacks,
        threat="all" if threat == "all" else threat.split(","),
        eps=eps,
        norm=norm,
        surrogates=parse_surrogates(surrogates) if surrogates else chosen.surrogates,
        substitutes={key: resolve(place) for key, place in named(substitutes).items()},
        learned_bpda=suite != "quick",
        eot=eot,
        passes=passes,
        images=images,
        batch_size=batch_size,
        diagnose=diagnose,
        max_cost=max_cost,
        seed=seed,
        accelerator=accelerator,
        folder=out / "checkpoint" / "evaluation" if out else None,
    )
    if not accelerator.is_main_process:
        return
    result = Evaluation.from_json(evaluation.content)
    show(console_table(result))
    if evaluation.verdict is not None:
        show(str(evaluation.verdict))
    if not isinstance(attacked, Defended):
        show("No purifier: give one with --purifier to see what it does.")
    if out:
        write_json(out / "environment.json", provenance(seed=seed, device=accelerator.device))
        show(f"report: {write_artefacts(result, out, name=name or model_name(model))}")
    if strict and (evaluation.verdict is None or evaluation.verdict.level != "reliable"):
        raise typer.Exit(3)


@app.command()
def transfer(
    substitutes: Annotated[
        list[str],
        typer.Option("--substitute", metavar="[NAME=]MODEL", help="What is attacked; may be repeated."),
    ],
    targets: Annotated[
        list[str],
        typer.Option("--target", metavar="[NAME=]MODEL", help="Who is sent the images; may be repeated."),
    ],
    data: Data = None,
    attacks: Annotated[
        str, typer.Option(help="Comma-separated; settings after colons, e.g. fgsm,pgd:steps=20.")
    ] = "fgsm,pgd:steps=5,pgd:steps=10,pgd:steps=20",
    eps: Annotated[str, typer.Option(help="The budget: L∞ in pixel units, or an L2 radius.")] = "8/255",
    norm: Annotated[str, typer.Option(help="linf or l2.")] = "linf",
    images: Images = None,
    batch_size: BatchSize = 128,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Write transfer.json and its figure here.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of every random draw.")] = 0,
    device: Device = "auto",
) -> None:
    """Attack every substitute, and see what the images do to every target: threat model transfer."""
    import contextlib

    from purespike.attacks.text import parse_attacks
    from purespike.checks import check_steps
    from purespike.data import load_data
    from purespike.errors import InputError
    from purespike.evaluation import transfer_matrix
    from purespike.experiment import training_images
    from purespike.files import write_bytes
    from purespike.models.resolve import named, resolve
    from purespike.reporting.drawing import png
    from purespike.reporting.matrix import transfer_heatmap
    from purespike.results import TransferMatrix
    from purespike.training.engine import main_first

    accelerator = start(device)
    check_steps(batch_size, name="batch_size")
    attacked, judged = named(substitutes), named(targets)
    # a model named on both sides is one object: its own row is known for the white-box case that way
    models = {place: resolve(place) for place in (*attacked.values(), *judged.values())}
    source = _source(data, *judged.values())
    trained_on = {}
    with main_first(accelerator):
        pictures = load_data(source).test
        for key, place in (attacked | judged).items():
            # what a model was trained on is worth knowing, and no condition
            with contextlib.suppress(InputError):
                if (found := training_images(place)) is not None:
                    trained_on[key] = found
    matrix = transfer_matrix(
        {key: models[place] for key, place in attacked.items()},
        {key: models[place] for key, place in judged.items()},
        pictures,
        attacks=parse_attacks(attacks),
        eps=eps,
        norm=norm,
        images=images,
        batch_size=batch_size,
        trained_on=trained_on,
        seed=seed,
        accelerator=accelerator,
        folder=out / "checkpoint" / "transfer" if out else None,
    )
    if not accelerator.is_main_process:
        return
    show(matrix.markdown())
    if out:
        matrix.save(out / "transfer.json")
        write_bytes(
            out / "figures" / "transfer.png", png(transfer_heatmap(TransferMatrix.from_json(matrix.content)))
        )
        show(f"matrix: {out / 'transfer.json'}")


@app.command()
def leaderboard(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="Evaluations, at any depth below.", show_default=False)
    ],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Where the tables go.", show_default="DIR")
    ] = None,
) -> None:
    """Rank the models of many evaluations, in HTML, Markdown, CSV and LaTeX."""
    from purespike.leaderboard.rendering import write_leaderboard

    show(f"leaderboard: {write_leaderboard(folder, out or folder, say=show)}")


def _source(data: str | None, *places: str) -> str:
    """What was asked for, or the data of the runs themselves: never those of another task."""
    from purespike.errors import InputError
    from purespike.experiment import recipe_of

    if data is not None:
        return data
    known = {recipe.data.source for place in places if (recipe := recipe_of(place)) is not None}
    if len(known) != 1:
        why = "the runs name different ones" if known else f"{places[0]} is no run that could say"
        raise InputError(f"--data: on which images? {why}; give e.g. --data cifar10")
    return known.pop()


def _defend(model: "nn.Module", purifier: str | None) -> "nn.Module":
    from purespike.errors import InputError
    from purespike.models import Defended
    from purespike.models.resolve import resolve

    if purifier is None:
        return model
    if isinstance(model, Defended):
        raise InputError("--purifier: MODEL already has one; give its classifier alone")
    part = resolve(purifier)
    return Defended(part.purifier if isinstance(part, Defended) else part, model).eval()
