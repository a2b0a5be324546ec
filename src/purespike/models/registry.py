"""Registry of classifier architectures; a network holds the settings that build it again."""

from collections.abc import Callable
from dataclasses import fields
from typing import Any

import torch
from torch import nn

from purespike.errors import InputError, brief, kind_of, unknown
from purespike.models.classifier import ClassifierSettings, SpikingClassifier
from purespike.neurons import size_neurons
from purespike.registration import own_name
from purespike.scalars import plain

Builder = Callable[[ClassifierSettings], SpikingClassifier]

_builders: dict[str, Builder] = {}


def register(builder: Builder = None) -> Builder:  # type: ignore[assignment]
    """Make ``builder`` known to :func:`create` under its own name.

    Raises:
        InputError: the name is taken, or not a function.
    """
    if not callable(builder):
        raise InputError(f"@register decorates a function, without parentheses, not {brief(builder)}")
    name = own_name("architecture", builder)
    if name in _builders:
        raise InputError(f"architecture {name!r} is registered twice")
    _builders[name] = builder
    return builder


def create(name: str, **settings: Any) -> SpikingClassifier:
    """Build the classifier registered as ``name``, with weights drawn from torch's global generator.

    Args:
        name: one of :func:`list_models`.
        settings: fields of :class:`~purespike.models.classifier.ClassifierSettings`,
            e.g. ``num_classes=10, width=0.5``.

    Returns:
        The network; ``.config`` holds the settings that build it again.

    Raises:
        InputError: unknown architecture or setting (the message names the nearest known one), or a
            setting out of its range.

    Example:
        >>> sum(p.numel() for p in create("resnet20_snn").parameters())
        4327754
    """
    if name not in _builders:
        raise unknown("model", name, _builders)
    allowed = [field.name for field in fields(ClassifierSettings)]
    for key in settings:
        if key not in allowed:
            raise unknown(f"setting of {name}", key, allowed)
    settings = {key: plain(value) for key, value in settings.items()}
    try:
        made = ClassifierSettings(**settings)
        model = _builders[name](made)
    except TypeError as error:
        raise InputError(f"model {name}: {error}") from error
    if not isinstance(model, nn.Module):
        raise InputError(f"model {name}: {name}() must return an nn.Module, got {kind_of(model)}")
    if made.image_size is not None:
        size_neurons(model, torch.zeros(1, made.in_channels, *made.image_size))
    model.config = {"architecture": name, **settings}  # type: ignore[assignment]
    return model


def about_model(name: str) -> str:
    """The docstring of the architecture called ``name``.

    Raises:
        InputError: unknown architecture.
    """
    if name not in _builders:
        raise unknown("model", name, _builders)
    return _builders[name].__doc__ or ""


def list_models() -> list[str]:
    """The names that :func:`create` takes."""
    return sorted(_builders)
