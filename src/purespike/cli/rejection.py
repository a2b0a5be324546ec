"""The command that measures a model with a gate: reject."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from purespike.cli.evaluations import defend, source_of
from purespike.cli.names import check_names, check_score, completion
from purespike.cli.options import Data, Device, Model, Split, app, start, takes_settings
from purespike.console import show

if TYPE_CHECKING:
    from torch import nn


@app.command()
@takes_settings(
    *("attacks", "eps", "norm", "surrogates", "losses", "images", "batch_size"),
    help={"attacks": "By gradient steps, comma-separated; settings after colons, e.g. pgd:steps=50."},
    attacks="pgd:steps=20",
)
def reject(
    model: Model,
    score: Annotated[
        str | None,
        typer.Option(
            help="Score to reject by, with settings after colons, e.g. prediction_change:steps=5; of a model "
            "saved with a gate its own.",
            autocompletion=completion("score"),
            show_default=False,
        ),
    ] = None,
    coverage: Annotated[
        float | None,
        typer.Option(help="Share of clean images to accept.", show_default="MODEL's threshold, else 0.95"),
    ] = None,
    gated: Annotated[
        bool, typer.Option("--gated", help="Purify images above the threshold instead of rejecting them.")
    ] = False,
    data: Data = None,
    split: Split = "test",
    calibrate_on: Annotated[
        str, typer.Option(metavar="SPLIT", help="Clean images that decide the threshold.")
    ] = "train",
    calibration_images: Annotated[int, typer.Option(help="Number of these, a stratified subset.")] = 1000,
    purifier: Annotated[
        str | None, typer.Option(help="Put this purifier before MODEL: checkpoint or module:function.")
    ] = None,
    slight: Annotated[
        float,
        typer.Option(help="Share of eps at which images are attacked to be rejected; 0 for none."),
    ] = 0.25,
    save: Annotated[Path | None, typer.Option(help="Write the calibrated model to this file.")] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Write rejection.json, its page and figure here.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of every random draw.")] = 0,
    device: Device = "auto",
    *,
    settings: dict[str, Any],
) -> None:
    """Let a model reject images that look attacked, and attack it knowing that: accepted and wrong wins."""
    import contextlib

    models = [model, *([purifier] if purifier else [])]
    check_names(settings, models, data=data, split=split)
    check_names({}, [], split=calibrate_on)
    check_score(score, models)
    from purespike.data import load_images
    from purespike.models import save as write_model
    from purespike.rejection import evaluate_rejection
    from purespike.reporting.rejection import rejection_grid, write_rejection
    from purespike.run_folder import check_folder, in_use
    from purespike.training.engine import main_first

    accelerator = start(device)
    check_folder(out)
    gate = _gate(defend(model, purifier), score, gated)
    fixed = gate.threshold is not None and coverage is None
    source = source_of(data, *models)
    with main_first(accelerator):
        pictures = load_images(source, split=split)
        clean = None if fixed else load_images(source, split=calibrate_on)
    gate.to(accelerator.device)
    if clean is not None:
        clean = clean.take(calibration_images, seed=seed)
        gate.calibrate(clean.images, 0.95 if coverage is None else coverage)
        if accelerator.is_main_process:
            show(f"threshold {gate.threshold:.6g}, from clean images of {source}/{calibrate_on}")
    if save is not None and accelerator.is_main_process:
        write_model(gate, save)
    with in_use(out, by=accelerator.is_main_process) if out else contextlib.nullcontext():
        found = evaluate_rejection(
            gate,
            pictures,
            slight=slight,
            seed=seed,
            accelerator=accelerator,
            folder=out / "checkpoint" / "rejection" if out else None,
            **settings,
        )
        if not accelerator.is_main_process:
            return
        show(rejection_grid(found).console())
        for finding in found.findings:
            show(f"{finding.level}: {finding.message}; {finding.advice}")
        if out:
            show(f"report: {write_rejection(found, out)}")


def _gate(model: "nn.Module", score: str | None, gated: bool) -> Any:
    """The model with its gate.

    Raises:
        InputError: no score, or a second one.
    """
    from purespike.errors import InputError
    from purespike.models import Defended
    from purespike.rejection import Gated, Rejecting

    if isinstance(model, Rejecting) or (isinstance(model, Gated) and score is None):
        if score is not None or gated:
            raise InputError("--score and --gated: MODEL has a gate already; leave them out")
        return model
    if gated:
        if not isinstance(model, Defended):
            raise InputError("--gated: MODEL has no purifier; give one with --purifier")
        return Gated(model.purifier, model.classifier, score or "noise_max")
    if score is None:
        raise InputError("--score is required, e.g. --score purification_distance: MODEL has no gate")
    return Rejecting(model, score)
