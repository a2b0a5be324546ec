"""The command that writes a model for other tools: export."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from purespike.cli.names import check_models
from purespike.cli.options import Device, Model, app, start
from purespike.console import show

if TYPE_CHECKING:
    from purespike.data import ImageSet

# test images on which a file is checked
CHECKED = 10


@app.command()
def export(
    model: Model,
    out: Annotated[
        Path, typer.Argument(metavar="OUT", help="File to write; .onnx or .nir names the format.")
    ],
    size: Annotated[
        str | None,
        typer.Option(
            metavar="HxW", help="Height and width of the images, e.g. 32x32.", show_default="the run's images"
        ),
    ] = None,
    purifier: Annotated[
        str | None, typer.Option(help="Put this purifier before MODEL: checkpoint or module:function.")
    ] = None,
    device: Device = "cpu",
) -> None:
    """Write MODEL for other tools, as ONNX or NIR; another program checks the file before it counts."""
    check_models(model, *([purifier] if purifier else []))
    shape = None if size is None else _sides(size)
    from purespike.cli.evaluations import defend
    from purespike.exporting import check_path
    from purespike.exporting import export as write

    check_path(out)
    accelerator = start(device)
    exported = defend(model, purifier).to(accelerator.device)
    if out.suffix.lower() == ".onnx":
        show("tracing every layer at every time step: seconds for a small network, minutes for a large one")
    show(str(write(exported, out, size=shape, images=None if shape else _images(model))))


def _images(model: str) -> "ImageSet | None":
    """Some test images of the run that ``model`` belongs to; ``None`` without one.

    Raises:
        InputError: its images cannot be loaded.
    """
    from purespike.cli.evaluations import source_named
    from purespike.data import load_images
    from purespike.errors import InputError

    source = source_named(model)
    if source is None:
        return None
    try:
        return load_images(source).take(CHECKED, seed=0)
    except InputError as error:
        raise InputError(f"{error}; give --size HxW to check the file on synthetic images") from error


def _sides(text: str) -> list[int]:
    """The numbers of ``32x32``, ``3x32x32`` or ``32``.

    Raises:
        InputError: anything else.
    """
    from purespike.errors import InputError

    parts = text.lower().replace("×", "x").split("x")
    if len(parts) > 3 or not all(part.strip().isascii() and part.strip().isdigit() for part in parts):
        raise InputError(f"--size: write height and width, e.g. 32x32, got {text!r}")
    sides = [int(part) for part in parts]
    return sides * 2 if len(sides) == 1 else sides
