"""Temporary modes of models, of autograd and of the default type."""

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor, nn


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


@contextlib.contextmanager
def outside_inference_mode() -> Iterator[None]:
    """Leave ``torch.inference_mode``, in which nothing can be differentiated; the gradient mode stays."""
    if not torch.is_inference_mode_enabled():
        yield
        return
    with torch.inference_mode(False), torch.no_grad():
        yield


def normal(tensor: Tensor) -> Tensor:
    """``tensor``, or a copy that autograd can work with if it was made in inference mode, left by now."""
    return tensor.clone() if tensor.is_inference() else tensor


@contextlib.contextmanager
def float32_by_default() -> Iterator[None]:
    """Build in float32 inside, whatever the default type of the caller."""
    former = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    try:
        yield
    finally:
        torch.set_default_dtype(former)
