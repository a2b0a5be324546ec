"""pyautoattack: its import, its output, and random draws of its attacks that belong to images."""

import contextlib
import io
import logging
import sys
import warnings
from collections.abc import Iterator
from functools import partial
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor

from purespike.attacks.victim import Victim
from purespike.errors import InputError
from purespike.seeding import ImageDraws, generator


def library() -> Any:
    """The package.

    Raises:
        InputError: it is missing.
    """
    try:
        import pyautoattack
        import pyautoattack.autopgd_base
        import pyautoattack.checks
        import pyautoattack.fab_base
        import pyautoattack.fab_projections
        import pyautoattack.fab_pt
        import pyautoattack.square
    except ImportError as error:
        raise InputError(
            "AutoAttack, APGD, FAB and Square need the package pyautoattack: "
            "install it with pip install 'pyautoattack>=0.2'"
        ) from error
    return pyautoattack


class _Torch:
    """In place of ``torch`` in the library's modules: draws of one row per image belong to the images.

    Others, such as the place of a square, are shared by all images and come from a stream of their own.
    """

    def __init__(self, *parts: object) -> None:
        self.parts, self.tries = parts, 0
        self.images: ImageDraws | None = None
        self.shared = generator(*parts)

    def __getattr__(self, name: str) -> Any:
        # images are float32, whatever the default type of the caller
        made = getattr(torch, name)
        return partial(_float32, made) if name in ("zeros", "ones") else made

    def begin(self, images: Tensor) -> None:
        """A run on these images ``[N, C, H, W]`` begins."""
        self.images = ImageDraws(images, *self.parts, self.tries)
        self.shared = generator(*self.parts, "shared", self.tries)
        self.tries += 1

    def rand(self, shape: Any) -> Tensor:
        own = self._owners(shape)
        return own.uniform(0, 1, shape[1:]) if own else self._other(torch.rand, shape)

    def randn(self, shape: Any) -> Tensor:
        own = self._owners(shape)
        return own.normal(shape[1:]) if own else self._other(torch.randn, shape)

    def _owners(self, shape: Any) -> ImageDraws | None:
        """The streams of the images, if a draw of this shape has one row for each."""
        images = self.images
        return images if images is not None and len(shape) == 4 and len(images) == shape[0] else None

    def _other(self, draw: Any, shape: Any) -> Tensor:
        made: Tensor = draw(shape, generator=self.shared, dtype=torch.float32)
        return made


def _float32(make: Any, *size: Any, **settings: Any) -> Tensor:
    made: Tensor = make(*size, **{"dtype": torch.float32, **settings})
    return made


class Component:
    """One attack of the library.

    Args:
        name: its name in the ensemble.
        victim: the attacked model.
        made: the library's object.
    """

    def __init__(self, name: str, victim: Victim, made: Any) -> None:
        self.name, self.victim, self.made = name, victim, made

    def search(self, images: Tensor, labels: Tensor, *, queries: int, parts: tuple[object, ...]) -> Tensor:
        """Images that the library returns, ``[N, C, H, W]``, not checked.

        Args:
            images: ``[N, C, H, W]`` in float32, classified correctly.
            labels: true classes, ``[N]``.
            queries: passes of an image that Square may take.
            parts: names of the random streams.
        """
        draws = _Torch("library", self.name, *parts)
        single_run = self.made.attack_single_run

        def begun(x: Tensor, *rest: Any, **settings: Any) -> Any:
            draws.begin(x)
            self.victim.labels = rest[0] if rest else settings.get("y")
            return single_run(x, *rest, **settings)

        self.made.attack_single_run = begun
        made = library()
        modules = made.autopgd_base, made.fab_base, made.fab_projections, made.fab_pt, made.square
        with contextlib.ExitStack() as patches:
            for module in modules:
                patches.enter_context(patch.object(module, "torch", draws))
            if self.name == "square":
                return self._square(images, labels, queries, draws)
            found: Tensor = self.made.perturb(images, labels)
            return found

    def _square(self, images: Tensor, labels: Tensor, queries: int, draws: _Torch) -> Tensor:
        if queries < 1:
            return images

        def margin_and_loss(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
            margins, loss = self.victim.margin_and_loss(x, y)
            # a success leaves the batch, and takes its stream with it
            if draws.images is not None:
                draws.images.keep(margins > 0)
            return margins, loss

        # its first query is the start; perturb would ask about the clean image and the result once more
        self.made.n_queries, self.made.margin_and_loss = queries - 1, margin_and_loss
        self.made.init_hyperparam(images)
        found: Tensor = self.made.attack_single_run(images, labels)[1]
        return found


class _LogCapture(logging.Handler):
    def __init__(self, messages: list[str]) -> None:
        super().__init__()
        self.messages = messages

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())


@contextlib.contextmanager
def captured_output(messages: list[str]) -> Iterator[logging.Logger]:
    """Add to ``messages`` all prints, warnings and records of the logger given; keep the trace function.

    The library's check for dynamic models ends with ``sys.settrace(None)``.
    """
    logger = logging.Logger("auto-attack", level=logging.WARNING)
    logger.addHandler(_LogCapture(messages))
    printed = io.StringIO()
    trace = sys.gettrace()
    try:
        with warnings.catch_warnings(record=True) as caught, contextlib.redirect_stdout(printed):
            warnings.simplefilter("default")
            yield logger
    finally:
        sys.settrace(trace)
    messages += [str(warning.message) for warning in caught]
    messages += printed.getvalue().splitlines()
