"""The command line: parse, call, print. Heavy imports wait until a command runs."""

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from purespike.console import fail, show

if TYPE_CHECKING:
    from accelerate import Accelerator
    from torch import nn

    from purespike.experiment import Run

app = typer.Typer(
    name="purespike",
    help="Defend spiking image classifiers by purifying their input, and measure honestly how robust "
    "the result is.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Device = Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")]
Precision = Annotated[str, typer.Option(help="fp32, bf16 or fp16, for training; attacks run in fp32.")]
Seed = Annotated[int | None, typer.Option(help="Overrides the recipe's seed.")]
Settings = Annotated[
    list[str], typer.Option("--set", metavar="A.B=C", help="Override one recipe key; may be repeated.")
]
Out = Annotated[Path | None, typer.Option("--out", "-o", help="Run folder.", show_default="runs/RECIPE")]
RecipePath = Annotated[Path, typer.Argument(metavar="RECIPE", help="YAML recipe, e.g. recipes/digits.yaml.")]
Model = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        help="A .safetensors checkpoint, a run folder, or module:function returning an nn.Module.",
    ),
]


class Stage(StrEnum):
    classifier = "classifier"
    purifier = "purifier"


@app.callback()
def options(
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks; may stand anywhere.")] = False,
) -> None:
    """Accepted before the command; :func:`main` reads it wherever it stands."""


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
        show(console_table(evaluation.content))
        show(f"report: {report}")


@app.command()
def train(
    stage: Annotated[Stage, typer.Argument(help="What to train.")],
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
    target: Annotated[Path, typer.Argument(metavar="OUT", help="Where the purified ones go.")],
    model: Annotated[
        str, typer.Option("--model", "-m", help="Purifier: checkpoint, run folder or module:function.")
    ],
    device: Device = "auto",
) -> None:
    """Purify image files; size and format stay the same."""
    from purespike.models.resolve import resolve
    from purespike.pictures import purify_files

    accelerator = _accelerator(device)
    count = purify_files(resolve(model), source, target, device=accelerator.device)
    show(f"{count} image{'s' if count != 1 else ''} purified: {target}")


@app.command()
def evaluate(
    model: Model,
    data: Annotated[
        str, typer.Option(help="digits, mnist, cifar10, …, folder:PATH, npz:PATH or hub:NAME.")
    ] = "digits",
    purifier: Annotated[
        str | None, typer.Option(help="Put this purifier before MODEL: checkpoint or module:function.")
    ] = None,
    suite: Annotated[str, typer.Option(help="quick, standard or full: which attacks.")] = "quick",
    attacks: Annotated[
        str | None,
        typer.Option(
            help="Instead of a suite, comma-separated; settings after colons, e.g. fgsm,pgd:steps=20.",
            show_default="the suite's",
        ),
    ] = None,
    eps: Annotated[str, typer.Option(help="L∞ budgets, comma-separated.")] = "8/255",
    threat: Annotated[
        str, typer.Option(help="undefended, oblivious, bpda, adaptive, query (comma-separated), or all.")
    ] = "all",
    images: Annotated[
        int | None, typer.Option(help="At most so many test images.", show_default="all")
    ] = None,
    batch_size: Annotated[int, typer.Option(help="Images per forward.")] = 128,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Write evaluation.json and report.html here.")
    ] = None,
    diagnose: Annotated[
        int, typer.Option(help="Examine the evaluation itself on so many images; 0 for not at all.")
    ] = 32,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with 3 unless the verdict is reliable.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Of every random draw.")] = 0,
    device: Device = "auto",
) -> None:
    """Attack a model, purified or not, and print its accuracy under each threat model, and a verdict."""
    from purespike.attacks.text import parse_attacks
    from purespike.checks import check_steps
    from purespike.data import load_data
    from purespike.environment import provenance
    from purespike.errors import InputError
    from purespike.evaluation import evaluate as measure
    from purespike.evaluation.plan import suite as select_suite
    from purespike.files import write_json
    from purespike.models import Defended
    from purespike.models.resolve import resolve
    from purespike.reporting.page import write_report
    from purespike.reporting.tables import console_table

    accelerator = _accelerator(device)
    check_steps(batch_size, name="batch_size")
    if images is not None:
        check_steps(images, name="images")
    if out is not None and (out / "recipe.yaml").exists():
        raise InputError(f"{out}: is a run folder with an evaluation of its own; choose another --out")
    specs = parse_attacks(attacks) if attacks else select_suite(suite)
    attacked = _defend(resolve(model), purifier)
    with accelerator.main_process_first():
        pictures = load_data(data).test
    evaluation = measure(
        attacked,
        pictures,
        attacks=specs,
        threat="all" if threat == "all" else threat.split(","),
        eps=eps,
        images=images,
        batch_size=batch_size,
        diagnose=diagnose,
        seed=seed,
        accelerator=accelerator,
        folder=out / "checkpoint" / "evaluation" if out else None,
    )
    if not accelerator.is_main_process:
        return
    show(console_table(evaluation.content))
    if evaluation.verdict is not None:
        show(str(evaluation.verdict))
    if not isinstance(attacked, Defended):
        show("No purifier: give one with --purifier to see what it does.")
    if out:
        write_json(out / "environment.json", provenance(seed=seed, device=accelerator.device))
        evaluation.save(out / "evaluation.json")
        show(f"report: {write_report(out)}")
    if strict and (evaluation.verdict is None or evaluation.verdict.level != "reliable"):
        raise typer.Exit(3)


@app.command()
def info(model: Model, device: Device = "auto") -> None:
    """Describe a model: architecture, parameters, and how often its neurons fire."""
    from purespike.description import describe
    from purespike.models.resolve import resolve

    for part in describe(resolve(model), device=_accelerator(device).device):
        show(part)


def _accelerator(device: str, precision: str = "fp32") -> "Accelerator":
    from purespike.training.engine import accelerator, limit_threads

    made = accelerator(device=device, precision=precision)
    limit_threads(made.num_processes)
    return made


def _runner(
    path: Path, out: Path | None, seed: int | None, settings: list[str], device: str, precision: str
) -> "Run":
    from purespike.experiment import Run
    from purespike.recipe import load_recipe

    overrides = [*settings, *([f"seed={seed}"] if seed is not None else [])]
    recipe = load_recipe(path, overrides)
    return Run(recipe, out or Path("runs") / path.stem, _accelerator(device, precision))


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


def main() -> None:
    """Entry point: errors a user can mend are one line and exit code 2, a traceback comes with --debug."""
    debug = "--debug" in sys.argv[1:]
    sys.argv[1:] = [argument for argument in sys.argv[1:] if argument != "--debug"]
    try:
        app()
    except SystemExit as stop:
        # typer turns an interrupt into a silent exit
        if stop.code == 130:
            fail("interrupted; run the same command again to go on", code=130)
        raise
    except (ValueError, OSError) as error:
        from purespike.errors import InputError

        if debug or not isinstance(error, InputError | OSError):
            raise
        fail(str(error), code=2)


if __name__ == "__main__":
    main()
