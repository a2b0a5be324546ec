"""Models as the command line names them: a checkpoint, a run folder, or a function of the user's own."""

import importlib
import sys
from pathlib import Path

from torch import nn

from purespike.errors import InputError
from purespike.models.checkpoint import load


def resolve(name: str) -> nn.Module:
    """The model that ``name`` stands for, in evaluation mode on the CPU.

    Args:
        name: a ``.safetensors`` checkpoint; a run folder, whose purifier is put before its classifier; or
            ``module:function``, importable from the current folder, returning any ``nn.Module`` from
            images ``[N, C, H, W]`` in [0, 1] to logits ``[N, K]``.

    Raises:
        InputError: nothing of the kind, or a function that fails or returns something else.
    """
    path = Path(name)
    if path.suffix == ".safetensors" or path.exists() or ":" not in name:
        return load(path)
    return _call(name)


def _call(name: str) -> nn.Module:
    module_name, _, function_name = name.partition(":")
    # a console script does not look in the current folder, where the user's module lies
    if "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        module = importlib.import_module(module_name)
    except Exception as error:
        raise InputError(f"model {name}: cannot import {module_name!r}: {_brief(error)}") from error
    function = getattr(module, function_name, None)
    if not callable(function):
        raise InputError(f"model {name}: {module_name!r} has no function {function_name!r}")
    try:
        model = function()
    except Exception as error:
        raise InputError(f"model {name}: {function_name}() failed: {_brief(error)}") from error
    if not isinstance(model, nn.Module):
        raise InputError(f"model {name}: {function_name}() returned {type(model).__name__}, not an nn.Module")
    return model.eval()


def _brief(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
