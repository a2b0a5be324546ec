"""Parameters of a classifier that are trained along with its purifier, and so no longer as given."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor, nn

from purespike.errors import InputError
from purespike.models.parameters import NAMES, found_in, named_twice
from purespike.tensors import first_not_finite, read_tensors, write_tensors

FILE = "released.safetensors"
"""Their values in a run folder, beside the classifier as it was given."""


class Released(nn.Module):
    """Some parameters of a classifier, which are its own and no copies.

    Args:
        classifier: any module.
        pattern: regular expression, found in the name of a parameter (``readout.weight``), or in the class of
            its layer and its own name (``BatchNorm2d.weight``).

    Raises:
        InputError: no parameter matches.
    """

    def __init__(self, classifier: nn.Module, pattern: str) -> None:
        super().__init__()
        found = {
            names[0]: parameter for parameter, names in named_twice(classifier) if found_in(pattern, names)
        }
        if not found:
            raise InputError(
                f"purifier.release: no parameter of the classifier matches the pattern {pattern!r}; {NAMES}"
            )
        self.names = tuple(found)
        self.values = nn.ParameterList(found.values())
        self._given = [value.detach().clone() for value in found.values()]

    @torch.no_grad()
    def take_back(self) -> None:
        """Give the parameters the values that they had at first."""
        for parameter, value in zip(self.values, self._given, strict=True):
            parameter.copy_(value)

    def write(self, folder: Path) -> None:
        """Keep the values in a run folder."""
        values: dict[str, Tensor] = dict(zip(self.names, self.values, strict=True))
        write_tensors(folder / FILE, values, {"format": "purespike/1"})


@contextlib.contextmanager
def opened(released: Released | None) -> Iterator[None]:
    """Ask for gradients of what is released of a frozen classifier inside; a failure takes changes back."""
    parameters = [] if released is None else list(released.values)
    wanted = [each.requires_grad for each in parameters]
    try:
        for parameter in parameters:
            parameter.requires_grad_(True)
        yield
    except BaseException:
        if released is not None:
            released.take_back()
        raise
    finally:
        for parameter, before in zip(parameters, wanted, strict=True):
            parameter.requires_grad_(before)


def with_released(classifier: nn.Module, folder: Path) -> nn.Module:
    """``classifier``, changed in place to the values that a run folder keeps, if it keeps any.

    Raises:
        InputError: a damaged file, or one of another classifier.
    """
    path = folder / FILE
    if not path.exists():
        return classifier
    tensors, _ = read_tensors(path)
    own = dict(classifier.named_parameters())
    for name, value in tensors.items():
        if name not in own or own[name].shape != value.shape:
            raise InputError(f"{path}: does not belong to this classifier ({name}); train again")
    if broken := first_not_finite(tensors):
        raise InputError(f"{path}: {broken} is not finite; train again")
    with torch.no_grad():
        for name, value in tensors.items():
            own[name].copy_(value)
    return classifier
