"""The surrogate and the reset that an attacker chooses, in place of those of training."""

import contextlib
from collections.abc import Iterator, Sequence

from torch import nn

from purespike.errors import InputError
from purespike.neurons.foreign import ForeignNeuron, foreign_neurons
from purespike.neurons.neuron import SpikingNeuron, spiking_neurons
from purespike.neurons.reset import RESETS, Reset, parse_reset
from purespike.neurons.surrogate import Surrogate, parse_surrogate


def exchangeable_neurons(model: nn.Module) -> Sequence[SpikingNeuron | ForeignNeuron]:
    """Layers of neurons, at every depth, whose surrogate an attacker can choose."""
    return [*spiking_neurons(model), *foreign_neurons(model)]


def accepts(model: nn.Module, surrogate: Surrogate | str) -> bool:
    """Whether all neurons of ``model`` whose surrogate can be chosen have a gradient under ``surrogate``.

    Raises:
        InputError: an unknown surrogate.
    """
    replacement = parse_surrogate(surrogate)
    try:
        for neuron in exchangeable_neurons(model):
            neuron.check_surrogate(replacement)
    except InputError:
        return False
    return True


def accepted(model: nn.Module, surrogates: Sequence[str]) -> tuple[str, ...]:
    """The ``surrogates`` that an attack on ``model`` can use; none where no neuron's can be exchanged.

    One is enough where all derivatives are exact. Neurons of other libraries show one time step at a time, so
    that the surrogates which need all of them are left out.

    Raises:
        InputError: an unknown surrogate, or one that is not defined for dynamics of purespike's own neurons;
            or none is left.
    """
    neurons, foreign = spiking_neurons(model), foreign_neurons(model)
    parsed = {name: parse_surrogate(name) for name in surrogates}
    if not neurons and not foreign:
        return ()
    for replacement in parsed.values():
        for neuron in neurons:
            neuron.check_surrogate(replacement)
    left = tuple(name for name in parsed if accepts(model, name))
    if parsed and not left:
        for each in foreign:
            each.check_surrogate(parsed[surrogates[0]])
    exact = not foreign and all(neuron.dynamics.exact for neuron in neurons)
    return left[:1] if exact else left


def other_resets(model: nn.Module) -> tuple[Reset, ...]:
    """Resets of which some neuron of ``model`` does not have its own, and which it would take."""
    own = {neuron.reset for neuron in exchangeable_neurons(model) if not _without_reset(neuron)} - {None}
    return tuple(reset for reset in RESETS if own and own != {reset})


def _without_reset(neuron: SpikingNeuron | ForeignNeuron) -> bool:
    # with one time step there is nothing to reset
    return isinstance(neuron, SpikingNeuron) and (neuron.time_steps == 1 or neuron.dynamics.exact)


@contextlib.contextmanager
def surrogate_gradient(
    model: nn.Module, surrogate: Surrogate | str | None = None, *, reset: Reset | None = None
) -> Iterator[None]:
    """Let every neuron of ``model`` use ``surrogate`` for forwards made inside, and their backwards.

    The attacker's derivative need not be the one of training. Spikes do not change. The former surrogates
    and resets come back on any exit.

    A surrogate that remembers (:attr:`Surrogate.remembers`) gets a fresh memory in each layer, gone on exit.
    Every forward that records a graph moves it on, so a block is one attack on one batch: its images stay the
    same, in the same order, and each iteration takes one such forward. A batch of another size begins afresh.
    A layer that runs more than once in a forward mixes the memories of its runs. A copy of the model
    made inside keeps the surrogate but remembers nothing.

    Args:
        model: any module; neurons are found at every depth, e.g. in both parts of a ``Defended``: purespike's
            own, SpikingJelly's (``surrogate_function``) and snnTorch's (``spike_grad``).
        surrogate: the derivative to use instead; ``None`` keeps that of each layer.
        reset: whether gradients flow through the reset; ``None`` keeps what each layer does. snnTorch always
            detaches it.

    Raises:
        InputError: an unknown surrogate or reset, one that is not defined for a layer, or a model none of
            whose neurons would change.
    """
    neurons = exchangeable_neurons(model)
    replacement = None if surrogate is None else parse_surrogate(surrogate)
    resettable = [neuron for neuron in neurons if neuron.reset is not None]
    if reset is not None:
        parse_reset(reset)
    if (replacement is not None and not neurons) or (reset is not None and not resettable):
        raise InputError(
            "surrogate_gradient: would change nothing in this model: it has no neurons of purespike, "
            "SpikingJelly or snnTorch that take it, and keeps its own gradients"
        )
    if replacement is not None:
        for neuron in neurons:
            neuron.check_surrogate(replacement)
    with contextlib.ExitStack() as exchanged:
        for neuron in neurons:
            exchanged.enter_context(neuron.exchanged(replacement, reset))
        yield
