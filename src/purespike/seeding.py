"""Random streams that depend on names, not on earlier draws: a resumed run repeats them."""

import contextlib
import hashlib
import random
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor


def derive(*parts: object) -> int:
    """A seed from ``parts``, e.g. ``(seed, "order", epoch)``; hashed, so that streams do not overlap."""
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def generator(*parts: object) -> torch.Generator:
    """A CPU generator seeded by :func:`derive`; drawing on the CPU gives every device the same numbers."""
    return torch.Generator().manual_seed(derive(*parts))


class ImageDraws:
    """A random stream for each image, decided by ``parts`` and its pixels: not by the batch that it is in.

    Equal images have equal streams. Draws are made on the CPU, so that every device gets the same numbers.

    Args:
        images: ``[N, C, H, W]``.
        parts: names of the streams, e.g. ``(seed, "start")``.
    """

    def __init__(self, images: Tensor, *parts: object) -> None:
        self.generators = [generator(*parts, digest(image)) for image in images.detach().cpu()]

    def __len__(self) -> int:
        return len(self.generators)

    def keep(self, rows: Tensor) -> None:
        """Forget the streams of all images but ``rows``, bool ``[N]``."""
        self.generators = [one for one, stays in zip(self.generators, rows.tolist(), strict=True) if stays]

    def uniform(self, low: float, high: float, shape: Sequence[int]) -> Tensor:
        """The next uniform draw from [low, high) of each image, ``[N, *shape]``."""
        return self._stacked(shape, lambda row, one: row.uniform_(low, high, generator=one))

    def normal(self, shape: Sequence[int]) -> Tensor:
        """The next standard normal draw of each image, ``[N, *shape]``."""
        return self._stacked(shape, lambda row, one: row.normal_(generator=one))

    def _stacked(self, shape: Sequence[int], draw: Callable[[Tensor, torch.Generator], Tensor]) -> Tensor:
        # other numbers would be drawn in another type
        drawn = torch.empty((len(self), *shape), dtype=torch.float32)
        for row, one in zip(drawn, self.generators, strict=True):
            draw(row, one)
        return drawn


def digest(image: Tensor) -> str:
    """A name of an image's pixels, the same for every floating-point type that holds them."""
    return hashlib.sha256(image.detach().cpu().float().contiguous().numpy().tobytes()).hexdigest()


def states(device: torch.device) -> list[object]:
    """The states of the global generators that :func:`seeded` seeds: what draws from one changes them."""
    tensors = [torch.default_generator.get_state()]
    if device.type == "cuda":
        tensors.append(torch.cuda.get_rng_state(device))
    kind, keys, *rest = np.random.get_state()  # noqa: NPY002
    return [*(each.tolist() for each in tensors), kind, list(keys), rest, random.getstate()]


@contextlib.contextmanager
def seeded(*parts: object, device: torch.device) -> Iterator[None]:
    """Seed the global generators with :func:`derive` of ``parts`` inside; their states are restored on exit.

    The generators are torch's, of the CPU, of ``device`` and of the current GPU, NumPy's and Python's: code
    called inside may draw from any of them.
    """
    gpus = {torch.cuda.current_device()} if torch.cuda.is_initialized() else set()
    if device.type == "cuda":
        # a device without a number is the current one
        gpus |= {torch.cuda.current_device() if device.index is None else device.index}
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
