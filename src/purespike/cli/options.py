"""The typer application, and the options that several commands share."""

import functools
import inspect
from collections.abc import Callable, Sequence
from dataclasses import is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer
from pydantic.fields import FieldInfo

from purespike.cli.names import completion
from purespike.errors import unknown
from purespike.importing import import_module
from purespike.registration import registering
from purespike.settings import EvaluationSettings

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

Device = Annotated[str, typer.Option(help="auto, cpu, cuda or mps.", autocompletion=completion("device"))]
Precision = Annotated[
    str,
    typer.Option(
        help="fp32, bf16 or fp16, for training; attacks run in fp32.",
        autocompletion=completion("precision"),
    ),
]
Half = Annotated[
    bool,
    typer.Option(
        "--half", help="Write trained weights in half precision, in half the bytes, and attack those."
    ),
]
Track = Annotated[
    str | None,
    typer.Option(
        help="Write the scalars of history and evaluation for this tracker into OUT/tracking: tensorboard.",
        autocompletion=completion("track"),
    ),
]
Seed = Annotated[int | None, typer.Option(help="Overrides the recipe's seed.")]
Settings = Annotated[
    list[str], typer.Option("--set", metavar="A.B=C", help="Override one recipe key; may be repeated.")
]
Out = Annotated[Path | None, typer.Option("--out", "-o", help="Run folder.", show_default="runs/RECIPE")]
Beside = Annotated[
    list[str],
    typer.Option(
        "--beside",
        metavar="[NAME=]FOLDER",
        help="Compare with this finished run or evaluation of the same images; may be repeated.",
    ),
]
RecipePath = Annotated[Path, typer.Argument(metavar="RECIPE", help="YAML recipe, e.g. recipes/digits.yaml.")]
Model = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        help="A .safetensors checkpoint, a run folder, zoo:NAME for a model that ships with purespike, or "
        "module:function returning an nn.Module.",
    ),
]
Data = Annotated[
    str | None,
    typer.Option(
        help="digits, mnist, cifar10, …, folder:PATH, npz:PATH, idx:PATH or hub:NAME.",
        show_default="the run's own",
        autocompletion=completion("data"),
    ),
]

Split = Annotated[
    str, typer.Option(help="Images to attack: test, train, or all, also of a folder of CLASS/*.png.")
]


def _version(asked: bool) -> None:
    if asked:
        from purespike import __version__

        typer.echo(f"purespike {__version__}")
        raise typer.Exit


def _import(context: typer.Context, modules: list[str]) -> None:
    if context.resilient_parsing:
        return
    for name in modules:
        import_module(name, place="--import")
    # the commands were collected before the modules could add theirs
    context.command.commands.update(typer.main.get_group(app).commands)  # type: ignore[attr-defined]


@app.callback()
def options(
    modules: Annotated[
        list[str],
        typer.Option(
            "--import",
            metavar="MODULE",
            help="Module of your own to import first, from the current folder, so that names that it "
            "registers are known; may be repeated.",
            callback=_import,
            is_eager=True,
        ),
    ] = [],  # noqa: B006
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks; valid at any position.")] = False,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """Accepted before the command; :func:`main` reads it at any position."""


def start(device: str, precision: str = "fp32") -> "Accelerator":
    """Device, precision and processes of a command."""
    from purespike.training.engine import accelerator, limit_threads

    made = accelerator(device=device, precision=precision)
    limit_threads(made.num_processes)
    return made


@registering('@takes_settings("eps", "attacks")')
def takes_settings(
    *names: str, help: dict[str, str] | None = None, **defaults: str
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command one option per evaluation setting, in place of its parameter ``settings``.

    Help and kind of an option come from the field of :class:`~purespike.settings.EvaluationSettings`; the
    command receives the settings that were given as the mapping ``settings``.

    Args:
        names: settings to offer, by default all.
        help: other help texts, by setting.
        defaults: defaults of settings, as text, where they are not the field's own.

    Raises:
        InputError: an unknown setting.
    """
    for name in (*names, *(help or {}), *defaults):
        if name not in EvaluationSettings.model_fields:
            raise unknown("setting of an evaluation", name, EvaluationSettings.model_fields)
    fields = {
        name: field for name, field in EvaluationSettings.model_fields.items() if not names or name in names
    }

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(command)
        def run(**given: Any) -> None:
            chosen = {name: given.pop(name) for name in fields}
            settings = defaults | {name: value for name, value in chosen.items() if value is not None}
            command(**given, settings=settings)

        signature = inspect.signature(command)
        own = [part for part in signature.parameters.values() if part.name != "settings"]
        options = [
            _option(name, field, (help or {}).get(name), defaults.get(name)) for name, field in fields.items()
        ]
        run.__signature__ = signature.replace(parameters=[*own, *options])  # type: ignore[attr-defined]
        run.__annotations__ = {part.name: part.annotation for part in (*own, *options)}
        return run

    return decorate


def _option(name: str, field: FieldInfo, help: str | None, default: str | None) -> inspect.Parameter:
    spellings = [key for key, own in EvaluationSettings.names().items() if own == name]
    flags = sorted((f"--{key.replace('_', '-')}" for key in spellings), key=len)
    kinds = {*get_args(field.annotation), field.annotation}
    kind: Any = next((kind for kind in (bool, int) if kind in kinds or _holds(field, kind)), str)
    if kind is bool:
        flags = [f"{flags[0]}/--no-{flags[0].removeprefix('--')}"]
    option = typer.Option(
        *flags,
        help=help or field.description,
        show_default=_shown(default or field.default),
        autocompletion=completion(name),
    )
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[kind | None, option]
    )


def _holds(field: FieldInfo, kind: type) -> bool:
    """Whether an annotated ``kind`` is among the alternatives of a field."""
    return any(get_args(each)[:1] == (kind,) for each in get_args(field.annotation))


def _shown(default: Any) -> str | bool:
    if default in (None, ()) or is_dataclass(default):
        return False
    if isinstance(default, Sequence) and not isinstance(default, str):
        return ",".join(map(str, default))
    return str(default)
