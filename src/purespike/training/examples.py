"""Adversarial examples against a frozen classifier: crafted once, kept, and read back by every epoch."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from purespike.attacks import Attack, SignAttack
from purespike.attacks.protocol import recorded
from purespike.data import ImageSet
from purespike.errors import InputError
from purespike.models.checkpoint import read_tensors, write_tensors
from purespike.models.predict import as_float, check_fit
from purespike.progress import bar
from purespike.seeding import derive, seeded

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
    key = _key(classifier, data, attack, seed)
    starts = range(0, len(data), SHARD)
    mine = starts[accelerator.process_index :: accelerator.num_processes]
    classifier = classifier.to(accelerator.device)
    check_fit(classifier, as_float(data.images[:1].to(accelerator.device)), data.labels)
    with bar("crafting", len(data), show=accelerator.is_main_process) as progress:
        for start in mine:
            path = folder / f"{start:08d}.safetensors"
            rows = slice(start, min(start + SHARD, len(data)))
            if _read(path, key) is None:
                parts = []
                for first in range(rows.start, rows.stop, batch_size):
                    batch = slice(first, min(first + batch_size, rows.stop))
                    images = as_float(data.images[batch].to(accelerator.device))
                    labels = data.labels[batch].to(accelerator.device)
                    own = replace(attack, seed=derive(seed, "craft", first))
                    # a stochastic classifier draws the same however much of a shard was crafted before
                    stream = seeded(seed, "craft", first, device=images.device)
                    with accelerator.autocast(), stream:
                        parts.append(_compact(_examples(own, classifier, images, labels).cpu()))
                    progress.advance(len(images) * accelerator.num_processes)
                _write(path, parts, key)
            else:
                progress.advance((rows.stop - rows.start) * accelerator.num_processes)
    accelerator.wait_for_everyone()
    shards = [_read(folder / f"{start:08d}.safetensors", key) for start in starts]
    if any(shard is None for shard in shards):
        raise InputError(f"{folder}: crafted examples vanished while they were read; start again")
    return _join([shard for shard in shards if shard is not None])


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


def _key(classifier: nn.Module, data: ImageSet, attack: Attack, seed: int) -> str:
    digest = hashlib.sha256(f"{data.fingerprint()} {seed} {json.dumps(recorded(attack))}".encode())
    for name, tensor in classifier.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().float().numpy().tobytes())
    return digest.hexdigest()


def _write(path: Path, parts: list[Tensor], key: str) -> None:
    write_tensors(path, {"images": _join(parts)}, {"key": key})


def _read(path: Path, key: str) -> Tensor | None:
    """The shard, or ``None`` if it is missing, damaged, or of another classifier, data set or attack."""
    if not path.exists():
        return None
    try:
        tensors, metadata = read_tensors(path)
    except InputError:
        return None
    return tensors.get("images") if metadata.get("key") == key else None
