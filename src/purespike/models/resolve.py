"""Models as the command line names them: a checkpoint, a run folder, or a function of the user's own."""

import contextlib
from collections.abc import Iterable
from pathlib import Path

from torch import nn

from purespike.errors import InputError
from purespike.importing import import_module
from purespike.models.adapters import as_module
from purespike.models.checkpoint import load
from purespike.models.defended import Defended
from purespike.models.guard import brief, check_values, own_code
from purespike.models.released import with_released
from purespike.recipe import load_recipe


def resolve(name: str) -> nn.Module:
    """The model named ``name``, in evaluation mode on the CPU.

    Args:
        name: ``zoo:NAME`` for a model that ships with purespike; a ``.safetensors`` checkpoint; a run folder,
            read as its purifier in front of its classifier; or ``module:function``, importable from the
            current folder, returning any ``nn.Module`` or function from images ``[N, C, H, W]`` in [0, 1] to
            logits ``[N, K]``.

    Raises:
        InputError: no such model, or a function that fails or does not return a module.
    """
    if name.startswith("zoo:"):
        from purespike.zoo import load as shipped

        return shipped(name)
    path = Path(name)
    if source := _foreign_classifier(path):
        return Defended(load(path), with_released(resolve(source), path)).eval()
    if path.suffix == ".safetensors" or path.exists() or ":" not in name:
        return load(path)
    return _call(name)


def _foreign_classifier(folder: Path) -> str | None:
    """The classifier of a run folder that keeps its purifier alone, as the recipe names it."""
    kept = {each.name for each in folder.iterdir()} if folder.is_dir() else set()
    if not {"recipe.yaml", "purifier.safetensors"} <= kept or "classifier.safetensors" in kept:
        return None
    return load_recipe(folder / "recipe.yaml").classifier.source


def named(specs: Iterable[str]) -> dict[str, str]:
    """Names for several models, each given as ``NAME=MODEL``, or as ``MODEL``, whose own name is then used.

    Returns:
        The argument of :func:`resolve` for each name.

    Raises:
        InputError: one name for two models.
    """
    models: dict[str, str] = {}
    for spec in specs:
        name, equals, model = spec.partition("=")
        if not equals:
            name, model = model_name(spec), spec
        if name in models:
            raise InputError(f"{spec}: the name {name!r} is taken by another model; write OTHER={model}")
        models[name] = model
    return models


def model_name(model: str) -> str:
    """Name of the model that :func:`resolve` makes of ``model``; the folder's for a part of a run folder."""
    if model.startswith("zoo:"):
        return model.removeprefix("zoo:")
    path = Path(model)
    if path.suffix != ".safetensors":
        return path.name or path.absolute().name
    return path.parent.name if path.stem in ("classifier", "purifier") and path.parent.name else path.stem


def _call(name: str) -> nn.Module:
    module_name, _, function_name = name.partition(":")
    module = import_module(module_name, place=f"model {name}")
    function = getattr(module, function_name, None)
    if not callable(function):
        raise InputError(f"model {name}: {module_name!r} has no function {function_name!r}")
    try:
        model = function()
    except (Exception, SystemExit) as error:
        raise InputError(f"model {name}: {function_name}() failed: {brief(error)}") from error
    if not callable(model) or isinstance(model, type):
        given = f"{type(model).__name__}, not an nn.Module or a function from images to logits"
        raise InputError(f"model {name}: {function_name}() returned {given}")
    network = as_module(model, name=f"model {name}")
    check_values(network, f"model {name}")
    # an exported graph has one mode, its own
    with own_code(f"model {name}"), contextlib.suppress(NotImplementedError):
        network.eval()
    return network
