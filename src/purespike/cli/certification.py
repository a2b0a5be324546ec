"""The command that certifies: certify."""

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from purespike.cli.evaluations import defend, place_of, source_of
from purespike.cli.names import check_names
from purespike.cli.options import Data, Device, Model, Split, app, start
from purespike.console import show
from purespike.smoothing import Smoothing

if TYPE_CHECKING:
    from purespike.results import ModelDescription

_FIELDS = {name: field.description for name, field in Smoothing.model_fields.items()}
_DEFAULTS = Smoothing()


@app.command()
def certify(
    model: Model,
    data: Data = None,
    split: Split = "test",
    purifier: Annotated[
        str | None,
        typer.Option(help="Put this purifier before MODEL as denoiser: checkpoint or module:function."),
    ] = None,
    sigma: Annotated[str, typer.Option(help=_FIELDS["sigma"])] = str(_DEFAULTS.sigma),
    n: Annotated[int, typer.Option("--n", help=_FIELDS["n"])] = _DEFAULTS.n,
    n0: Annotated[int, typer.Option("--n0", help=_FIELDS["n0"])] = _DEFAULTS.n0,
    alpha: Annotated[float, typer.Option(help=_FIELDS["alpha"])] = _DEFAULTS.alpha,
    compare: Annotated[
        list[str],
        typer.Option(
            "--compare",
            metavar="[NAME=]MODEL",
            help="Certify this model beside it, e.g. a noise-trained classifier; may be repeated.",
        ),
    ] = [],  # noqa: B006
    alone: Annotated[
        bool,
        typer.Option("--alone", help="Do not certify the bare classifier of a defended model beside it."),
    ] = False,
    images: Annotated[
        int | None, typer.Option(min=1, help="Number of test images, a stratified subset; all if not given.")
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Draws per forward; 1,000 suit a GPU.")] = 100,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Write certification.json, .html and more here.")
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="Name of MODEL in the tables.", show_default="defended model or model")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of every random draw.")] = 0,
    device: Device = "auto",
) -> None:
    """Prove in which L2 radius the predictions under Gaussian noise cannot change. Run again to resume."""
    models = [model, *([purifier] if purifier else []), *map(place_of, compare)]
    smoothing = Smoothing(sigma=sigma, n=n, n0=n0, alpha=alpha)
    check_names({}, models, data=data, split=split)
    from purespike.certification import certify as measure
    from purespike.data import load_images
    from purespike.evaluation.inputs import describe_model
    from purespike.models.resolve import named, resolve
    from purespike.reporting.certified import certified_grid
    from purespike.reporting.certified_page import write_certification
    from purespike.run_folder import check_output, in_use
    from purespike.training.engine import main_first

    accelerator = start(device)
    if out is not None:
        check_output(out)
    certified = defend(model, purifier)
    if out is not None:
        _check_kept(out / "certification.json", smoothing, describe_model(certified))
    others = {key: resolve(place) for key, place in named(compare).items()}
    source = source_of(data, model, *([purifier] if purifier else []))
    with main_first(accelerator):
        pictures = load_images(source, split=split)
    with in_use(out, by=accelerator.is_main_process) if out else contextlib.nullcontext():
        found = measure(
            certified,
            pictures,
            **smoothing.model_dump(),
            compare=others,
            alone=alone,
            name=name,
            images=images,
            batch_size=batch_size,
            seed=seed,
            accelerator=accelerator,
            folder=out / "checkpoint" / "certification" if out else None,
        )
        if not accelerator.is_main_process:
            return
        show(certified_grid(found).console())
        if out:
            show(f"report: {write_certification(found, out)}")


def _check_kept(path: Path, smoothing: Smoothing, model: "ModelDescription") -> None:
    """Check that certificates in the way are of the same noise and model: they cost hours.

    Raises:
        InputError: they are not, or cannot be read.
    """
    from purespike.errors import InputError
    from purespike.results import Certification

    if not path.exists():
        return
    try:
        kept = Certification.read(path)
    except InputError as error:
        raise InputError(f"{error}; it would be replaced: choose another --out, or delete it") from None
    former = kept.first.model
    what = ""
    if kept.smoothing.sigma != smoothing.sigma:
        what = f"sigma {kept.smoothing.sigma:g}"
    elif (former.text, former.classifier.text) != (model.text, model.classifier.text):
        what = f"another model ({former.text})"
    if what:
        raise InputError(f"{path}: is that of {what}; choose another --out, or delete it")
