"""NIR, the Neuromorphic Intermediate Representation (Pedersen et al. 2024), for other SNN tools."""

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from purespike.errors import InputError
from purespike.exporting.agreement import compare
from purespike.exporting.exported import Exported
from purespike.exporting.nir_graph import DT, Graph
from purespike.exporting.nir_layers import convert
from purespike.exporting.nir_run import run_file
from purespike.exporting.subject import check_deterministic, class_names
from purespike.files import replacing
from purespike.importing import optional
from purespike.models import SpikingClassifier
from purespike.models.checkpoint import part_config
from purespike.modes import mode
from purespike.reading import brief


def export_nir(model: nn.Module, path: Path, images: Tensor) -> Exported:
    """Write a classifier as a NIR graph, which takes the image at each of T steps and gives logits at each.

    Batch norms are folded into the convolutions before them, in float64; one after a sum is a 1×1 convolution
    with diagonal weights, and so is the normalisation of images. A layer of multi-level firing is one LIF
    node for each threshold: NIR sums all edges into a node. The prediction is the mean of the T outputs; a
    tool resets the neurons before each image. ``metadata`` of the graph says so, and holds ``dt`` and
    ``time_steps``.

    Args:
        model: a classifier of convolutions, batch norms, poolings and multi-level firing.
        path: path of the file, which replaces an earlier one once nirtorch has run it.
        images: images ``[N, C, H, W]`` in [0, 1], on which it is checked.

    Raises:
        InputError: a package of the extra ``nir`` is missing; a layer that NIR cannot express; or nirtorch
            disagrees with the model. Nothing is written then.
    """
    nir, nirtorch = optional("nir", "NIR export"), optional("nirtorch", "NIR export")
    with mode(model, training=False), torch.no_grad(), torch.inference_mode(False):
        graph = Graph(nir, images.shape[1:])
        logits = convert(model, graph, graph.start, "")
        if not isinstance(model, SpikingClassifier):
            raise InputError(
                f"{type(model).__name__}: NIR takes one of purespike's classifiers; ONNX any model"
            )
        check_deterministic(model, images[:2])
        steps = model.neurons.time_steps
        finished = graph.finish(logits, _metadata(model, steps))
        with replacing(path) as temporary:
            try:
                nir.write(str(temporary), finished)
            except OSError:
                raise
            except Exception as error:
                raise InputError(f"nir cannot write the graph: {brief(error)}") from error
            answer, nodes = run_file(nir, nirtorch, temporary, images.cpu().float(), steps)
            agreement = compare(model, images, (answer,))
            if not agreement.agree:
                raise InputError(
                    f"nirtorch differs from the model by {agreement.largest:.1e} ({agreement.differing} of "
                    f"{agreement.images} images); nothing is written"
                )
    return Exported(
        path=path,
        format="NIR",
        takes=f"the image {list(images.shape[1:])} in [0, 1] at each of {steps} time steps",
        gives="logits at each step, whose mean over time is the answer",
        nodes=nodes,
        judge=f"nirtorch with nir {nir.version}",
        images=agreement.images,
        largest=agreement.largest,
        agreement=str(agreement),
    )


def _metadata(model: SpikingClassifier, steps: int) -> dict[str, Any]:
    from purespike import __version__

    names = class_names(model)
    return {
        "purespike": __version__,
        "model": json.dumps(part_config(model), default=str),
        "dt": DT,
        "time_steps": steps,
        "input": "the image in [0, 1] at every time step",
        "output": "logits at every time step; their mean over time is the answer",
        "reset": "hard, to v_reset in the step of the spike; all membranes are 0 before each image",
        **({"class_names": json.dumps(names)} if names else {}),
    }
