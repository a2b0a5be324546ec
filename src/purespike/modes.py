"""Temporary training or evaluation mode."""

import contextlib
from collections.abc import Iterator

from torch import nn


@contextlib.contextmanager
def mode(model: nn.Module, *, training: bool) -> Iterator[None]:
    """Put ``model`` into one mode inside; the mode of every module is restored on any exit."""
    former = [(module, module.training) for module in model.modules()]
    try:
        # an exported graph has one mode, its own
        with contextlib.suppress(NotImplementedError):
            model.train(training)
        yield
    finally:
        for module, own in former:
            module.training = own
