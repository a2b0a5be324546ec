"""ONNX: written by PyTorch's exporter for any number of images, and checked by onnxruntime."""

import contextlib
import io
import json
import logging
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from purespike.errors import InputError
from purespike.exporting.agreement import Agreement, compare
from purespike.exporting.exported import Exported
from purespike.exporting.subject import (
    check_deterministic,
    class_names,
    output_names,
    outputs_of,
    stochastic,
)
from purespike.files import replacing
from purespike.importing import optional
from purespike.models.checkpoint import part_config
from purespike.models.guard import guarded
from purespike.modes import mode
from purespike.reading import brief

BATCHES = (1, 2, 7)
"""Numbers of images at which onnxruntime runs a file."""
_RANDOM = {
    "Bernoulli",
    "Multinomial",
    "RandomNormal",
    "RandomNormalLike",
    "RandomUniform",
    "RandomUniformLike",
}


def export_onnx(model: nn.Module, path: Path, images: Tensor) -> Exported:
    """Write ``model`` as ONNX, for any number of images of one size.

    Time steps and thresholds are unrolled; the file takes images in [0, 1] and gives logits, or purified
    images and noise level, as the model does, with nothing to reset between calls.

    Args:
        model: images to logits, or a purifier; deterministic.
        path: path of the file, which replaces an earlier one once onnxruntime has run it.
        images: at least 10 images ``[N, C, H, W]`` in [0, 1], on which it is checked.

    Raises:
        InputError: a package of the extra ``onnx`` is missing; the model is stochastic, or cannot be traced;
            or onnxruntime disagrees with it. Nothing is written then.
    """
    for package in ("onnx", "onnxscript"):
        optional(package, "ONNX export")
    runtime = optional("onnxruntime", "ONNX export")
    with guarded(model), mode(model, training=False), torch.no_grad(), torch.inference_mode(False):
        check_deterministic(model, images[:2])
        names = output_names(model, len(outputs_of(model, images[:2])))
        program = _trace(model, images[:2], names)
        drawn = {node.op_type for node in program.model.graph.all_nodes()} & _RANDOM
        if drawn:
            raise stochastic(f"its forward draws: {', '.join(sorted(drawn))}")
        properties = program.model.metadata_props
        properties.update(_properties(model, images))
        program.model.producer_name = "purespike"
        with replacing(path) as temporary:
            program.save(str(temporary), external_data=False)
            agreement = _check(runtime, temporary, model, images)
    batches = ", ".join(map(str, BATCHES))
    return Exported(
        path=path,
        format="ONNX",
        takes=f"images [batch, {', '.join(map(str, images.shape[1:]))}] in [0, 1]",
        gives=" and ".join(names),
        nodes=len(program.model.graph),
        judge=f"onnxruntime {runtime.__version__}",
        images=agreement.images,
        largest=agreement.largest,
        agreement=f"{agreement}, in batches of {batches}",
    )


def _trace(model: nn.Module, images: Tensor, names: Sequence[str]) -> Any:
    """The exported program of ``model``.

    Raises:
        InputError: it cannot be traced.
    """
    try:
        with _quiet():
            program = torch.onnx.export(
                _Plain(model),
                (images,),
                None,
                dynamo=True,
                verbose=False,
                input_names=["images"],
                output_names=list(names),
                dynamic_shapes=({0: torch.export.Dim("batch")},),
            )
    except torch.OutOfMemoryError:
        raise
    # whatever a foreign model meets inside torch.export has no common base class
    except Exception as error:
        raise InputError(f"{type(model).__name__}: cannot be exported to ONNX: {_reason(error)}") from error
    assert program is not None
    return program


class _Plain(nn.Module):
    """A model whose outputs are a plain tuple, in evaluation mode, as the exporter wants them."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.training = False

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        return outputs_of(self.model, images)


def _reason(error: BaseException) -> str:
    """The cause of a failed export in one line: the exporter's own text is a page."""
    while error.__cause__ is not None:
        error = error.__cause__
    return f"{type(error).__name__}: {brief(error)}"


def _check(runtime: Any, file: Path, model: nn.Module, images: Tensor) -> Agreement:
    """Run the file in several batches.

    Raises:
        InputError: it does not run, or gives other outputs than the model.
    """
    pieces = images.split(BATCHES)
    try:
        # one thread is enough for ten small images, and two programs with all cores each would fight
        options = runtime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 3
        session = runtime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
        batch = session.get_inputs()[0].shape[0]
        if isinstance(batch, int):
            raise InputError(
                f"{type(model).__name__}: its forward fixes the number of images, to {batch} as traced: "
                "len(x) of a tensor does that, x.shape[0] does not"
            )
        answers = [session.run(None, {"images": piece.cpu().numpy()}) for piece in pieces]
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"onnxruntime cannot run the exported model: {brief(error)}") from error
    theirs = [torch.cat([torch.from_numpy(part) for part in parts]) for parts in zip(*answers, strict=True)]
    agreement = compare(model, images, theirs)
    if not agreement.agree:
        with torch.no_grad():
            own = [outputs_of(model, piece) for piece in pieces]
        if not compare(model, images, [torch.cat(parts) for parts in zip(*own, strict=True)]).agree:
            raise InputError(
                f"{type(model).__name__}: its answer for an image depends on the images beside it "
                "(statistics of a batch?), and a file would answer otherwise in another batch; nothing is "
                "written"
            )
        raise InputError(
            f"onnxruntime differs from the model by {agreement.largest:.1e} ({agreement.differing} of "
            f"{agreement.images} images); nothing is written. Does its forward "
            "branch on the values of its input?"
        )
    return agreement


def _properties(model: nn.Module, images: Tensor) -> dict[str, str]:
    """What the file says about the model, as texts."""
    from purespike import __version__

    names = class_names(model)
    return {
        "purespike.version": __version__,
        "purespike.model": json.dumps(part_config(model), default=str),
        "purespike.image": json.dumps(list(images.shape[1:])),
        **({"purespike.class_names": json.dumps(names)} if names else {}),
    }


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's advice to developers out of a command's output."""
    former, unread = logging.root.manager.disable, io.StringIO()
    with warnings.catch_warnings(), contextlib.redirect_stdout(unread), contextlib.redirect_stderr(unread):
        warnings.simplefilter("ignore")
        logging.disable(logging.CRITICAL)
        try:
            yield
        finally:
            logging.disable(former)
