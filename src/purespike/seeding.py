"""Random streams that depend on names, not on earlier draws: a resumed run repeats them."""

import contextlib
import hashlib
import random
from collections.abc import Iterator

import numpy as np
import torch


def derive(*parts: object) -> int:
    """A seed from ``parts``, e.g. ``(seed, "order", epoch)``; hashed, so that streams do not overlap."""
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def generator(*parts: object) -> torch.Generator:
    """A CPU generator seeded by :func:`derive`; drawing on the CPU gives every device the same numbers."""
    return torch.Generator().manual_seed(derive(*parts))


@contextlib.contextmanager
def seeded(*parts: object, device: torch.device) -> Iterator[None]:
    """Seed the global generators with :func:`derive` of ``parts`` inside; their states are restored on exit.

    The generators are torch's, of the CPU, of ``device`` and of the current GPU, NumPy's and Python's: code
    called inside may draw from any of them.
    """
    gpus = {torch.cuda.current_device()} if torch.cuda.is_initialized() else set()
    gpus |= {device.index} if device.type == "cuda" else set()
    with torch.random.fork_rng(devices=sorted(gpus)):
        seed = derive(*parts)
        torch.default_generator.manual_seed(seed)
        # foreign code draws from the legacy generator
        others = np.random.get_state(), random.getstate()  # noqa: NPY002
        np.random.seed(seed % 2**32)  # noqa: NPY002
        random.seed(seed)
        for gpu in gpus:
            with torch.cuda.device(gpu):
                torch.cuda.manual_seed(seed)
        try:
            yield
        finally:
            np.random.set_state(others[0])  # noqa: NPY002
            random.setstate(others[1])
