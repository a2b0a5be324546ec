"""Functions with a backward of their own: is it the derivative of what they compute?"""

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any, Literal

import torch
from torch import Tensor
from torch.autograd.function import Function

Kind = Literal["exact", "spikes", "other", "unexamined"]

# the class whose ``apply`` every custom function calls, also through a bound method kept from earlier
_CALLED: Any = Function.__mro__[1]
_ONE_AT_A_TIME = threading.RLock()
# ours, whose gradients are exchanged, and those that only send tensors to other devices
_PASSED_BY = ("purespike.", "torch.nn.parallel.", "torch.distributed.")
# random projections of a Jacobian, and the relative error that no rounding and no kinks explain
PROBES, ERROR = 6, 0.25
# how much farther than a probe reaches an input is moved before
APART = 10


@contextlib.contextmanager
def custom_functions_watched(note: Callable[[type[Function], tuple[Any, ...]], None]) -> Iterator[None]:
    """Call ``note`` with each custom autograd function and its arguments before it is applied.

    Functions inside other ones, functions of purespike, and those of which no argument is being
    differentiated are left out.

    Args:
        note: function that may apply the custom function itself, which is not noted again.
    """
    busy, here = False, threading.get_ident()

    def apply(function: type[Function], *given: Any, **named: Any) -> Any:
        nonlocal busy
        ours = f"{function.__module__}.".startswith(_PASSED_BY)
        elsewhere = threading.get_ident() != here
        if not (busy or ours or elsewhere) and torch.is_grad_enabled() and any(map(_differentiated, given)):
            busy = True
            try:
                note(function, given)
            finally:
                busy = False
        return super(_CALLED, function).apply(*given, **named)

    with _ONE_AT_A_TIME:
        former = vars(_CALLED).get("apply")
        _CALLED.apply = classmethod(apply)
        try:
            yield
        finally:
            if former is None:
                del _CALLED.apply
            else:
                _CALLED.apply = former


def kind_of_gradient(function: Callable[..., Any], given: tuple[Any, ...]) -> Kind:
    r"""Compare the gradient that ``function`` defines with finite differences.

    For random signs u of an output and a random change v of the inputs, :math:`u^\top J v` is known by
    backward and by a central difference. Inputs are moved a little before: many lie on a kink, such as zeros
    that a rectifier left. They stay where a logarithm is defined.

    Args:
        function: any function of ``given`` to one tensor or several.
        given: arguments; those that are being differentiated are changed.

    Returns:
        ``"exact"`` where both agree; ``"spikes"`` where an output keeps its values, or jumps from one of them
        to another, though its gradient is not zero; ``"other"`` where they disagree otherwise;
        ``"unexamined"`` where ``function`` cannot be called again, or not be differentiated alone.
    """
    try:
        with torch.random.fork_rng(devices=[]), torch.enable_grad():
            kinds = _kinds(function, given)
    except torch.OutOfMemoryError:
        raise
    except Exception:
        return "unexamined"
    return "spikes" if "spikes" in kinds else "other" if "other" in kinds else "exact"


def _kinds(function: Callable[..., Any], given: tuple[Any, ...]) -> set[Kind]:
    """The kind of the gradient of each output."""
    draw = torch.Generator().manual_seed(0)
    given = tuple(map(_precise, given))
    moved = {
        place: _moved(value.detach(), draw) for place, value in enumerate(given) if _differentiated(value)
    }
    changes = {place: _size(value) * _random(value, draw) for place, value in moved.items()}

    def at(share: float) -> tuple[list[Tensor], list[Tensor]]:
        """Differentiated inputs at a share of the changes, and outputs."""
        leaves = {place: (value + share * changes[place]).requires_grad_() for place, value in moved.items()}
        # copies: a function may work in place
        copied = [
            leaves.get(place, value).clone() if isinstance(value, Tensor) else value
            for place, value in enumerate(given)
        ]
        torch.default_generator.manual_seed(0)
        outputs = function(*copied)
        parts = outputs if isinstance(outputs, tuple | list) else (outputs,)
        return list(leaves.values()), [each for each in parts if _differentiated(each)]

    def kind(place: int) -> Kind:
        before, after, other = (at(share)[1][place].detach() for share in (0, 1, -1))
        half = (after.double() - other.double()) / 2
        by_backward, by_difference = [], []
        for _ in range(PROBES):
            signs = (torch.rand(half.shape, generator=draw) < 0.5).to(before) * 2 - 1
            # anew: a graph may serve once only
            leaves, outputs = at(0)
            gradients = torch.autograd.grad(outputs[place], leaves, signs, allow_unused=True)
            products = [
                (gradient.double() * change.double()).sum()
                for gradient, change in zip(gradients, changes.values(), strict=True)
                if gradient is not None
            ]
            by_backward.append(sum(products, start=half.new_zeros(())))
            by_difference.append((half * signs).sum())
        found, expected = torch.stack(by_backward), torch.stack(by_difference)
        largest = max(found.norm().item(), expected.norm().item())
        if (found - expected).norm().item() <= ERROR * largest:
            return "exact"
        jumps = after[after != before]
        if jumps.numel() and torch.isin(jumps, before).double().mean() <= 0.5:
            return "other"
        # an honest quantiser has no gradient
        return "spikes" if found.any() else "exact"

    return {kind(place) for place in range(len(at(0)[1]))}


def _moved(values: Tensor, draw: torch.Generator) -> Tensor:
    """``values`` farther from where they were than a probe reaches; all keep their sign, zeros rise."""
    random, zero = _random(values, draw), values == 0
    return values + APART * _size(values) * torch.where(zero, random.abs().clamp(min=2 / APART), random)


def _size(values: Tensor) -> Tensor:
    """The change of each value that suits a central difference of this type of number."""
    typical = values.double().square().mean().sqrt().to(values)
    sizes = torch.where(values == 0, torch.where(typical == 0, 1, typical), values.abs())
    return sizes * torch.finfo(values.dtype).eps ** (1 / 3)


def _random(like: Tensor, draw: torch.Generator) -> Tensor:
    """Uniform draws from [-1, 1)."""
    return (2 * torch.rand(like.shape, generator=draw) - 1).to(like)


def _precise(value: Any) -> Any:
    # in half precision any two tensors share many values
    half = isinstance(value, Tensor) and value.dtype in (torch.float16, torch.bfloat16)
    return value.float() if half else value


def _differentiated(value: Any) -> bool:
    return isinstance(value, Tensor) and value.is_floating_point() and value.requires_grad
