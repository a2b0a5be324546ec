"""Adversarial images on disk: as they are, and as pictures of 8 bits, which are judged again."""

import io
import itertools
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from purespike.attacks.protocol import recorded
from purespike.chunks import Format
from purespike.errors import InputError
from purespike.evaluation.cell import Chunk, Part, share_right
from purespike.evaluation.plan import Job, stepped_name
from purespike.evaluation.threat import Scene, classifier_of
from purespike.files import replacing, write_bytes, write_json
from purespike.results import bound_key
from purespike.results.samples import read_arrays
from purespike.seeding import seeded

# float32 keeps a level of 255 to about this part of it
_SLACK = 1e-4


def to_levels(adversarial: Tensor, clean: Tensor, eps: float | None = None) -> Tensor:
    """``adversarial`` in 8 bits, each pixel rounded towards its clean one: the pictures stay in the ball.

    A pixel moves no further from the clean one than it was, hence stays within any L∞ or L2 ball. Only where
    clean images are no 8-bit pictures themselves may there be no level in between: the nearest one then.

    Args:
        adversarial: ``[N, C, H, W]`` in [0, 1].
        clean: the same images before the attack.
        eps: L∞ budget, if there is one; a step of exactly so many levels is kept in spite of float32.

    Returns:
        uint8, same shape.
    """
    base, aim = clean.double() * 255, adversarial.double() * 255
    levels = base.round()
    base = torch.where((base - levels).abs() < 10 * _SLACK, levels, base)
    step = aim - base
    if eps is not None:
        step = step.clamp(-eps * 255, eps * 255)
    up = (base + step + _SLACK).floor()
    down = (base + step - _SLACK).ceil()
    inside = torch.where(step >= 0, up, down)
    # no level between the clean pixel and the attacked one
    passed = torch.where(step >= 0, inside < base, inside > base)
    return torch.where(passed, levels, inside).clamp(0, 255).to(torch.uint8)


@dataclass(frozen=True, eq=False)
class Attacked:
    """One chunk with its adversarial images, float32 ``[N, C, H, W]`` by threat model."""

    chunk: Chunk
    images: dict[str, Tensor]


class Archive(Format[Attacked]):
    """An :class:`Attacked` as an ``.npz`` without pickles."""

    suffix = ".npz"

    def read(self, path: Path) -> Attacked:
        arrays = read_arrays(path)
        if "chunk" not in arrays:
            raise InputError(f"{path}: no array 'chunk'")
        chunk = Chunk.model_validate_json(str(arrays.pop("chunk")))
        return Attacked(chunk, {name: torch.from_numpy(array) for name, array in arrays.items()})

    def write(self, path: Path, value: Attacked) -> None:
        arrays = {name: images.cpu().numpy() for name, images in value.images.items()}
        with replacing(path) as temporary, open(temporary, "wb") as file:
            np.savez(file, allow_pickle=False, chunk=np.array(value.chunk.model_dump_json()), **arrays)


def with_images(
    attack: Callable[[dict[str, Tensor]], Chunk],
    scene: Scene,
    job: Job,
    images: Tensor,
    labels: Tensor,
    *,
    passes: int,
    seed: tuple[object, ...],
) -> Attacked:
    """Attack a chunk, keep the adversarial images, and judge the 8-bit pictures made of them.

    Args:
        attack: function that attacks, and puts the adversarial images of each threat model into a mapping.
        scene: the attacked model.
        job: attack and budget.
        images: clean images, ``[N, C, H, W]``.
        labels: true classes.
        passes: passes over which an image of a stochastic model is judged.
        seed: parts of the seed with which the pictures are judged.
    """
    found: dict[str, Tensor] = {}
    chunk = attack(found)
    parts: dict[str, Part] = {}
    for threat, part in chunk.parts.items():
        model = classifier_of(scene.model) if threat == "undefended" else scene.model
        pictures = to_levels(found[threat], images, job.eps if job.norm == "linf" else None).float() / 255
        with torch.no_grad(), seeded(*seed, "8 bits", threat, device=images.device):
            right = (share_right(model, pictures, labels, passes) > 0.5).int().tolist()
        parts[threat] = part.model_copy(update={"rounded": right})
    return Attacked(chunk.model_copy(update={"parts": parts}), {name: x.float() for name, x in found.items()})


def place(folder: Path, job: Job, threat: str, *, taken: dict[Path, Job]) -> Path:
    """Folder of the images of one attack under one threat model: ``adaptive/linf-8_255/pgd-20``.

    A second attack of this name, steps and budget, an escalated one for instance, has ``pgd-20.2``.

    Args:
        folder: folder of all of them.
        job: attack and budget.
        threat: threat model.
        taken: folders with their attacks, to which this one is added.
    """
    attack = job.attack
    size = job.eps if job.eps is not None else getattr(attack, "level", None)
    name = stepped_name(attack)
    parent = folder / threat / bound_key(job.norm, size)
    names = (name if number == 1 else f"{name}.{number}" for number in itertools.count(1))
    own = next(parent / each for each in names if taken.get(parent / each, job) == job)
    taken[own] = job
    return own


def forget_others(folder: Path, starts: Sequence[int], count: int) -> None:
    """Remove what an earlier evaluation, of other chunks or more images, left in the folder of an attack.

    Args:
        folder: folder of the attack.
        starts: first rows of the chunks that were written.
        count: number of images.
    """
    for path in folder.iterdir() if folder.is_dir() else ():
        if found := re.fullmatch(r"(images-)?(\d{5,})\.(npz|png)", path.name):
            chunk, number = found[1] is not None, int(found[2])
            if chunk == (found[3] == "npz") and (number not in starts if chunk else number >= count):
                path.unlink()


def write_images(
    folder: Path, start: int, kept: Attacked, threat: str, images: Tensor, labels: Tensor, job: Job
) -> None:
    """Write ``images-START.npz``, and ``NUMBER.png`` for each grey or colour image, numbered as attacked.

    ``attack.json`` names the attack with all settings.

    The archive holds ``adversarial`` (float32), ``rounded`` (uint8), ``labels``, and, 1 for each image that
    the model classifies correctly, ``robust`` and ``robust_rounded``.
    """
    if start == 0:
        settings = recorded(job.attack)
        write_json(folder / "attack.json", {"threat": threat, "eps": job.eps, "norm": job.norm} | settings)
    adversarial, part = kept.images[threat].to(images.device), kept.chunk.parts[threat]
    rounded = to_levels(adversarial, images, job.eps if job.norm == "linf" else None).cpu().numpy()
    buffer = io.BytesIO()
    np.savez(
        buffer,
        allow_pickle=False,
        adversarial=adversarial.cpu().numpy(),
        rounded=rounded,
        labels=labels.cpu().numpy(),
        robust=np.array(part.robust, dtype=bool),
        robust_rounded=np.array(part.rounded, dtype=bool),
    )
    write_bytes(folder / f"images-{start:05}.npz", buffer.getvalue())
    if rounded.shape[1] not in (1, 3):
        return
    for number, pixels in enumerate(rounded.transpose(0, 2, 3, 1), start):
        buffer = io.BytesIO()
        Image.fromarray(pixels.squeeze(2) if pixels.shape[2] == 1 else pixels).save(buffer, format="PNG")
        write_bytes(folder / f"{number:05}.png", buffer.getvalue())
