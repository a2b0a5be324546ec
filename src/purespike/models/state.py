"""What a model keeps between calls: put back, so that a second call starts where the first did."""

import contextlib
from collections import deque
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

# torch's own bookkeeping of a module; buffers are visited by themselves
_BOOKKEEPING = frozenset(vars(nn.Module())) | {"forward"}


class Held:
    """All that the modules of a model hold beside parameters: buffers, tensors, numbers, lists of them.

    Random generators, and whatever lies outside the modules, are not held.

    Args:
        model: any module.
        buffers_only: whether to hold nothing but buffers.
    """

    def __init__(self, model: nn.Module, *, buffers_only: bool = False) -> None:
        self._homes: list[tuple[dict[str, Any], dict[str, Any]]] = []
        for module in model.modules():
            self._homes.append((module._buffers, _save_all(module._buffers)))
            if not buffers_only:
                own = {key: value for key, value in vars(module).items() if key not in _BOOKKEEPING}
                self._homes.append((vars(module), _save_all(own)))

    def put_back(self) -> None:
        """Give every module what it held; the objects stay the same, with their former content."""
        for home, saved in self._homes:
            for key in home.keys() - saved.keys() - _BOOKKEEPING:
                del home[key]
            home.update({key: _put_back(*each) for key, each in saved.items()})


@contextlib.contextmanager
def buffers_kept(model: nn.Module) -> Iterator[None]:
    """Put the buffers of ``model`` back on any exit."""
    held = Held(model, buffers_only=True)
    try:
        yield
    finally:
        held.put_back()


def _save_all(values: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    return {key: _save(value, 0) for key, value in values.items()}


def _save(value: Any, depth: int) -> tuple[Any, Any]:
    """An object, and a copy of its content if it is one that can change."""
    if isinstance(value, Tensor) and not isinstance(value, nn.Parameter):
        return value, value.detach().clone()
    if isinstance(value, np.ndarray):
        return value, value.copy()
    if depth < 3 and isinstance(value, dict):
        return value, {key: _save(each, depth + 1) for key, each in value.items()}
    if depth < 3 and isinstance(value, list | deque):
        return value, [_save(each, depth + 1) for each in value]
    return value, None


def _put_back(value: Any, content: Any) -> Any:
    if content is None:
        return value
    if isinstance(value, Tensor):
        with torch.inference_mode(value.is_inference()), torch.no_grad():
            if value.shape == content.shape and not torch.equal(value, content):
                value.detach().copy_(content)
    elif isinstance(value, np.ndarray):
        np.copyto(value, content)
    elif isinstance(value, dict):
        value.clear()
        value.update({key: _put_back(*each) for key, each in content.items()})
    else:
        value.clear()
        value.extend(_put_back(*each) for each in content)
    return value
