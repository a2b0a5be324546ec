"""Temporary modes of models, of autograd and of the default type."""

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from purespike.errors import InputError
from purespike.reading import brief


@contextlib.contextmanager
def mode(model: nn.Module, *, training: bool) -> Iterator[None]:
    """Put ``model`` into one mode inside; the mode of every module is restored on any exit.

    Raises:
        InputError: a ``train`` of its own that fails.
    """
    former = [(module, module.training) for module in model.modules()]
    try:
        # an exported graph has one mode, its own
        try:
            model.train(training)
        except NotImplementedError:
            pass
        except Exception as error:
            kind = type(error).__name__
            raise InputError(
                f"{type(model).__name__}: its train({training}) fails: {kind}: {brief(error)}"
            ) from error
        yield
    finally:
        for module, own in former:
            module.training = own


@contextlib.contextmanager
def frozen(model: nn.Module) -> Iterator[None]:
    """Freeze the parameters of ``model`` inside, so that autograd computes no gradient for them."""
    parameters = [each for each in model.parameters() if each.requires_grad and not is_lazy(each)]
    try:
        for parameter in parameters:
            parameter.requires_grad_(False)
        yield
    finally:
        for parameter in parameters:
            parameter.requires_grad_(True)


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
