"""Adversarial examples against a frozen classifier: crafted once, kept, and read back by every epoch."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from purespike.attacks import Attack, SignAttack
from purespike.attacks.protocol import recorded
from purespike.checks import as_float
from purespike.chunks import Format, Store, shares
from purespike.data import ImageSet
from purespike.errors import InputError
from purespike.models.fit import check_fit
from purespike.models.identity import identity
from purespike.progress import bar
from purespike.seeding import derive, seeded
from purespike.tensors import read_tensors, write_tensors

SHARD = 1024


def craft(
    classifier: nn.Module,
    data: ImageSet,
    attack: Attack,
    *,
    folder: Path,
    seed: int,
    batch_size: int,
    accelerator: Accelerator,
) -> Tensor:
    """Adversarial versions of every image of ``data``, in its order (Algorithm 1, line 4).

    A frozen classifier's examples never change, so that one pass serves all epochs. Finished shards in
    ``folder`` are read back, not crafted again; they belong to one classifier, data set, attack and seed.

    Returns:
        ``[N, C, H, W]`` on the CPU: uint8 where that is exact (as for FGSM with whole pixel levels),
        else float32 in [0, 1].

    Raises:
        InputError: images or settings that the attack refuses.
    """
    classifier = classifier.to(accelerator.device)
    check_fit(classifier, as_float(data.images[:1].to(accelerator.device)), data.labels)
    store = Store(folder, identity(classifier), data.fingerprint(), seed, recorded(attack))
    with bar("crafting", len(data), show=accelerator.is_main_process) as progress:
        for start in shares(len(data), SHARD, accelerator):
            rows = range(start, min(start + SHARD, len(data)))
            store.get(
                _Images(),
                start,
                partial(_shard, classifier, data, attack, rows, seed, batch_size, accelerator),
                valid=partial(_covers, rows),
            )
            progress.advance(len(rows) * accelerator.num_processes)
    accelerator.wait_for_everyone()
    vanished = partial(_vanished, folder)
    return _join([store.get(_Images(), start, vanished) for start in range(0, len(data), SHARD)])


class _Images(Format[Tensor]):
    """Images as safetensors."""

    suffix = ".safetensors"

    def read(self, path: Path) -> Tensor:
        tensors, _ = read_tensors(path)
        if "images" not in tensors:
            raise InputError(f"{path}: holds no images")
        return tensors["images"]

    def write(self, path: Path, value: Tensor) -> None:
        write_tensors(path, {"images": value}, {})


def _shard(
    classifier: nn.Module,
    data: ImageSet,
    attack: Attack,
    rows: range,
    seed: int,
    batch_size: int,
    accelerator: Accelerator,
) -> Tensor:
    parts = []
    for first in rows[::batch_size]:
        batch = slice(first, min(first + batch_size, rows.stop))
        images = as_float(data.images[batch].to(accelerator.device))
        labels = data.labels[batch].to(accelerator.device)
        own = replace(attack, seed=derive(seed, "craft", first))
        # a stochastic classifier draws the same however much of a shard was crafted before
        with accelerator.autocast(), seeded(seed, "craft", first, device=images.device):
            parts.append(_compact(_examples(own, classifier, images, labels).cpu()))
    return _join(parts)


def _covers(rows: range, images: Tensor) -> bool:
    return len(images) == len(rows)


def _vanished(folder: Path) -> Tensor:
    raise InputError(f"{folder}: crafted examples vanished while they were read; start again")


def _examples(attack: Attack, classifier: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    # of one step, or of the last one, the attack need not know whether it succeeds
    if isinstance(attack, SignAttack) and (attack.steps == 1 or attack.keep == "last"):
        return attack.perturb(classifier, images, labels)
    return attack(classifier, images, labels).images


def _compact(images: Tensor) -> Tensor:
    """uint8 if the images are exactly whole pixel levels, so that reading them back gives the same floats."""
    levels = (images * 255).round().to(torch.uint8)
    # eps steps are accurate to float rounding; half a thousandth of a level is no perturbation
    exact = torch.allclose(as_float(levels), images, rtol=0, atol=2e-6)
    return levels if exact else images.float()


def _join(parts: list[Tensor]) -> Tensor:
    if len({part.dtype for part in parts}) > 1:
        parts = [as_float(part) for part in parts]
    return torch.cat(parts)
