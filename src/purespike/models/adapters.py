"""Adapters that make functions from images to logits of models that are none as they are."""

import functools
from collections.abc import Callable, Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn

from purespike.errors import InputError, kind_of

Take = int | str | Callable[[Any], Tensor]

# reductions over the time steps of outputs [T, N, K]
OVER_TIME: dict[str, Callable[[Tensor], Tensor]] = {
    "mean": lambda outputs: outputs.mean(0),
    "sum": lambda outputs: outputs.sum(0),
    "last": lambda outputs: outputs[-1],
}


class Logits(nn.Module):
    """The logits ``[N, K]`` among the outputs of a model that returns more, or something else.

    Args:
        model: images to any outputs.
        take: place of the logits: the index in a tuple or list; the key in a mapping, or the name of an
            attribute; for outputs ``[T, N, K]`` ``"mean"``, ``"sum"`` or ``"last"`` over the time steps; or a
            function of the outputs.

    Raises:
        InputError: in forward, outputs without such a place.

    Example:
        >>> two_heads = lambda images: (images.flatten(1), None)
        >>> Logits(two_heads, take=0)(torch.zeros(2, 1, 2, 2)).shape
        torch.Size([2, 4])
    """

    def __init__(self, model: nn.Module | Callable[[Tensor], Any], take: Take) -> None:
        super().__init__()
        if isinstance(take, bool) or not (isinstance(take, int | str) or callable(take)):
            raise InputError(
                f"Logits: take is an index, a name or a function of the outputs, got {kind_of(take)}"
            )
        self.model = as_module(model)
        self.take = take

    def forward(self, images: Tensor) -> Tensor:
        outputs, take = self.model(images), self.take
        if callable(take):
            return take(outputs)
        if isinstance(outputs, Tensor) and isinstance(take, str) and take in OVER_TIME:
            if outputs.ndim != 3:
                raise InputError(f"Logits: take={take!r} is for outputs [T, N, K], got {list(outputs.shape)}")
            return OVER_TIME[take](outputs)
        try:
            named = isinstance(take, str) and hasattr(outputs, take) and not isinstance(outputs, dict)
            return cast(Tensor, getattr(outputs, str(take)) if named else outputs[take])
        except (KeyError, IndexError, TypeError) as error:
            raise InputError(
                f"Logits: take={take!r} is no place in {describe_outputs(outputs)}; give an index, a key, "
                "mean, sum or last over the time steps, or a function"
            ) from error

    def extra_repr(self) -> str:
        return f"take={self.take!r}"


class Resetting(nn.Module):
    """A model whose neurons forget before every forward what they kept of the last one.

    The neurons of SpikingJelly and snnTorch keep their membranes between calls, which makes an image's
    logits depend on the images before it. They are reset after the forward too, so that no graph stays.

    Args:
        model: images to logits, over all its time steps.
        reset: function of the model that resets it; by default each module's own: SpikingJelly's ``reset()``,
            snnTorch's ``reset_mem()``, or ``reset_state()``.

    Raises:
        InputError: no module of ``model`` has such a function.

    Example:
        >>> class Counter(nn.Module):
        ...     calls = 0
        ...     def reset(self):
        ...         self.calls = 0
        ...     def forward(self, images):
        ...         self.calls += 1
        ...         return images.flatten(1) * self.calls
        >>> model = Resetting(Counter())
        >>> [model(torch.ones(1, 1, 1, 2)).tolist() for _ in range(2)]
        [[[1.0, 1.0]], [[1.0, 1.0]]]
    """

    def __init__(self, model: nn.Module, reset: Callable[[nn.Module], object] | None = None) -> None:
        super().__init__()
        if not isinstance(model, nn.Module):
            raise InputError(f"Resetting: an nn.Module is needed, got {kind_of(model)}")
        if reset is not None and not callable(reset):
            raise InputError(f"Resetting: reset is a function of the model, got {kind_of(reset)}")
        self.model = model
        self._reset = reset
        if reset is None and not list(_resets(model)):
            raise InputError(
                f"Resetting: no module of {type(model).__name__} has reset(), reset_mem() or reset_state(); "
                "give the function that resets it: Resetting(model, reset=…)"
            )

    def forward(self, images: Tensor) -> Any:
        self.reset()
        try:
            return self.model(images)
        finally:
            self.reset()

    def reset(self) -> None:
        """Reset the model's neurons."""
        with torch.no_grad():
            if self._reset is not None:
                self._reset(self.model)
                return
            for reset in _resets(self.model):
                reset()


def _resets(model: nn.Module) -> Any:
    """The functions that reset the modules of ``model``, one a module."""
    for module in model.modules():
        # after a forward snnTorch keeps a tensor under the name `reset`
        found = [getattr(module, name, None) for name in ("reset_mem", "reset", "reset_state")]
        yield from [function for function in found if callable(function)][:1]


class Function(nn.Module):
    """A plain function from images to logits as a module.

    Args:
        function: images ``[N, C, H, W]`` to logits ``[N, K]``.
    """

    def __init__(self, function: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, images: Tensor) -> Any:
        return self.function(images)

    def extra_repr(self) -> str:
        return getattr(self.function, "__qualname__", type(self.function).__name__)


def as_module(model: nn.Module | Callable[[Tensor], Any], *, name: str = "the model") -> nn.Module:
    """``model`` if it is a module, else the function as one; a TorchScript module is taken for a function.

    What is inside of one can neither be put back nor watched.

    Raises:
        InputError: neither, or a class instead of an instance.
    """
    if isinstance(model, torch.jit.ScriptModule):
        # hidden in a function, or it would be a module of the module
        return Function(functools.partial(model))
    if isinstance(model, nn.Module):
        return model
    if isinstance(model, type) or not callable(model):
        given = (
            f"the class {model.__name__}; call it first" if isinstance(model, type) else type(model).__name__
        )
        raise InputError(f"{name}: not an nn.Module nor a function from images to logits, but {given}")
    return Function(model)


def as_modules(
    models: Mapping[str, nn.Module | Callable[[Tensor], Any]] | None, *, name: str
) -> dict[str, nn.Module]:
    """Models by name, each :func:`as_module`.

    Raises:
        InputError: no mapping, a name that is no text, or something that is no model.
    """
    if models is None:
        return {}
    if not isinstance(models, Mapping):
        raise InputError(f"{name}: give a mapping of names to models, got {kind_of(models)}")
    if wrong := next((key for key in models if not isinstance(key, str)), None):
        raise InputError(f"{name}: a name is text, got {wrong!r:.80}")
    return {key: as_module(each, name=f"{name}: {key}") for key, each in models.items()}


def describe_outputs(outputs: Any) -> str:
    """The kind and shape of the outputs of a model, for messages."""
    if isinstance(outputs, Tensor):
        return f"a tensor {list(outputs.shape)}"
    if isinstance(outputs, dict):
        parts = ", ".join(f"{key!r}: {_brief(value)}" for key, value in list(outputs.items())[:4])
        return f"a {type(outputs).__name__} {{{parts}}}"
    if isinstance(outputs, tuple | list):
        return f"a {type(outputs).__name__} of {', '.join(map(_brief, outputs[:4])) or 'nothing'}"
    return f"a {type(outputs).__name__}"


def _brief(value: Any) -> str:
    return str(list(value.shape)) if isinstance(value, Tensor) else type(value).__name__
