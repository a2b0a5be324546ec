"""The number of images of an examination, so that it costs no more than the attacks that it examines."""

import contextlib
from collections.abc import Iterator
from typing import Any

from torch import Tensor, nn

from purespike.evaluation.threat import classifier_of

# most and fewest images of an examination, unless the settings name a number
MOST, FEWEST = 32, 4
# passes below which the examination of an image stays, whatever the attack
AMPLE = 4000


class Passes:
    """Images passed through a classifier."""

    def __init__(self) -> None:
        self.count = 0

    def _note(self, module: nn.Module, inputs: tuple[Any, ...]) -> None:
        if inputs and isinstance(inputs[0], Tensor):
            self.count += len(inputs[0])


@contextlib.contextmanager
def counted(model: nn.Module) -> Iterator[Passes]:
    """The images that are passed through the classifier of ``model`` inside, whichever way they come."""
    passes = Passes()
    hook = classifier_of(model).register_forward_pre_hook(passes._note)
    try:
        yield passes
    finally:
        hook.remove()


def affordable(taken: int, spent: int, examined: int) -> int:
    """Images that can be examined for as many passes as the attacks took.

    Args:
        taken: passes of all attacks.
        spent: passes of a trial examination, which count as well.
        examined: images of the trial.
    """
    if not spent:
        return MOST
    return max(FEWEST, min(MOST, taken * examined // spent - examined))
