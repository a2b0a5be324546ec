"""Failures of a foreign model as one line that names it, at whichever call it fails."""

import contextlib
import itertools
import traceback
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from purespike.errors import InputError
from purespike.models.defended import Defended
from purespike.models.state import buffers_kept


class ModelFailure(InputError):
    """The model of the user failed, at whichever call."""


class Guard:
    """The forward of a model, whose failures become a :class:`ModelFailure`.

    Args:
        forward: the model's own forward.
        name: name of the model in messages.
    """

    def __init__(self, forward: Callable[..., Any], name: str) -> None:
        self.forward, self.name, self.calls = forward, name, 0

    def __call__(self, *given: Any, **named: Any) -> Any:
        self.calls += 1
        try:
            return self.forward(*given, **named)
        except (InputError, torch.OutOfMemoryError, KeyboardInterrupt):
            raise
        except SystemExit as leaving:
            detail = f"it calls sys.exit({leaving.code!r})"
            raise ModelFailure(f"{self.name} {self._where(given)}: {detail}") from leaving
        except Exception as error:
            raise ModelFailure(f"{self.name} {self._where(given)}: {brief(error)}") from error

    def _where(self, given: tuple[Any, ...]) -> str:
        shapes = [f" on images of shape {list(each.shape)}" for each in given[:1] if isinstance(each, Tensor)]
        return f"fails at call {self.calls}{''.join(shapes)}"


@contextlib.contextmanager
def guarded(model: nn.Module, name: str = "the model") -> Iterator[None]:
    """Let failures of ``model`` raise a :class:`ModelFailure` inside; its forward is put back on any exit.

    In a ``Defended`` each of the two parts is guarded. A model that is guarded already keeps its name. What
    autograd raises while it differentiates is a failure of the model as well.

    Args:
        model: any module.
        name: name of the model in messages.

    Raises:
        InputError: values of the model are on the meta device.
    """
    check_values(model, name)
    each = {name: model}
    if isinstance(model, Defended):
        each = {f"the purifier of {name}": model.purifier, f"the classifier of {name}": model.classifier}
    guards: list[Guard] = []
    with contextlib.ExitStack() as put_back:
        for own_name, part in each.items():
            attributes = vars(part)
            guard = attributes.get("forward")
            if not isinstance(guard, Guard):
                put_back.callback(_restore, attributes, guard)
                # an instance's own forward goes before that of its class
                guard = attributes["forward"] = Guard(part.forward, f"{own_name} ({type(part).__name__})")
            guards.append(guard)
        try:
            yield
        except (InputError, torch.OutOfMemoryError):
            raise
        except Exception as error:
            if not _in_backward(error):
                raise
            names = " or ".join(guard.name for guard in guards)
            raise ModelFailure(f"{names} fails in the backward pass: {brief(error)}") from error


def check_values(model: nn.Module, name: str = "the model") -> None:
    """See that all parameters and buffers of ``model``, called ``name`` in messages, have values.

    Raises:
        InputError: one is on the meta device.
    """
    for key, value in itertools.chain(model.named_parameters(), model.named_buffers()):
        if value.is_meta:
            raise InputError(
                f"{name} ({type(model).__name__}): {key} is on the meta device, where tensors have no "
                "values; load its weights first (to_empty, then load_state_dict)"
            )


def _in_backward(error: Exception) -> bool:
    """Whether autograd was differentiating when ``error`` was raised."""
    frames = traceback.walk_tb(error.__traceback__)
    return any(frame.f_code.co_name == "_engine_run_backward" for frame, _ in frames)


@contextlib.contextmanager
def lent(models: Mapping[str, nn.Module]) -> Iterator[None]:
    """Models whose failures name them inside, and whose buffers are put back on any exit.

    Args:
        models: models by their names in messages.
    """
    with contextlib.ExitStack() as back:
        for name, model in models.items():
            back.enter_context(guarded(model, name))
            back.enter_context(buffers_kept(model))
        yield


def _restore(attributes: dict[str, Any], forward: Callable[..., Any] | None) -> None:
    if forward is None:
        del attributes["forward"]
    else:
        attributes["forward"] = forward


@contextlib.contextmanager
def own_code(place: str) -> Iterator[None]:
    """Turn what the user's own code raises inside into one line: ``place: failed with KIND: MESSAGE``.

    Args:
        place: the part in messages, e.g. ``"attack mine"``.
    """
    try:
        yield
    except (InputError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        raise InputError(f"{place}: failed with {brief(error)}") from error


def brief(error: BaseException) -> str:
    """Kind and message of an error in one line of at most 200 characters."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]
