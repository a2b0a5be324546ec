"""The program itself, and the options that several commands share."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from accelerate import Accelerator

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
Data = Annotated[
    str | None,
    typer.Option(
        help="digits, mnist, cifar10, …, folder:PATH, npz:PATH or hub:NAME.", show_default="the run's own"
    ),
]
Images = Annotated[int | None, typer.Option(help="At most so many test images.", show_default="all")]
BatchSize = Annotated[int, typer.Option(help="Images per forward.")]


@app.callback()
def options(
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks; may stand anywhere.")] = False,
) -> None:
    """Accepted before the command; :func:`main` reads it wherever it stands."""


def start(device: str, precision: str = "fp32") -> "Accelerator":
    """Device, precision and processes of a command."""
    from purespike.training.engine import accelerator, limit_threads

    made = accelerator(device=device, precision=precision)
    limit_threads(made.num_processes)
    return made
