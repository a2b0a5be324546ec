"""Models on disk: weights and architecture in one safetensors file, without pickle."""

import contextlib
import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from purespike.errors import InputError
from purespike.files import replacing
from purespike.models.defended import Defended
from purespike.models.purifier import Purifier
from purespike.models.registry import create
from purespike.results import read_history

FORMAT = "purespike/1"


def save(model: nn.Module, path: str | Path, *, class_names: tuple[str, ...] | None = None) -> None:
    """Write ``model`` to ``path`` atomically: weights, architecture, and the names of its classes.

    Args:
        model: made by :func:`purespike.models.create`, a ``Purifier``, or a ``Defended`` of these.
        path: a ``.safetensors`` file; replaced only once the new one is complete.
        class_names: K names; by default those in ``model.class_names``, if any.

    Raises:
        InputError: a model (or a part of a ``Defended``) that purespike does not know, or whose modules are
            not those that its settings build.
    """
    config: Any = getattr(model, "config", None)
    if not _known(config):
        raise InputError(
            f"save: {type(model).__name__} is not made of purespike's own models alone; save the "
            "purifier alone and put it before your classifier with Defended(purifier, classifier)"
        )
    changed = _changed(model, config)
    if changed:
        places = ", ".join(changed[:3]) + (" …" if len(changed) > 3 else "")
        raise InputError(
            f"save: {places} of {config['architecture']} was replaced or set anew, and a checkpoint would "
            "not bring that back; keep the state_dict and the function that builds your model"
        )
    names = class_names or getattr(model, "class_names", None)
    metadata = {
        "format": FORMAT,
        "config": json.dumps(config, default=_plain),
        "class_names": json.dumps(list(names) if names else None),
    }
    write_tensors(path, model.state_dict(), metadata)


def load(path: str | Path) -> nn.Module:
    """Read a model that :func:`save` wrote, in evaluation mode on the CPU.

    Args:
        path: a ``.safetensors`` file; or a run folder, read as its purifier in front of its classifier, or as
            the only one of them that it holds.

    Raises:
        InputError: no such file, truncated, not a purespike checkpoint, or weights that do not fit the
            architecture of the file.
    """
    if Path(path).is_dir():
        classifier, purifier = (Path(path) / f"{name}.safetensors" for name in ("classifier", "purifier"))
        if purifier.exists() and classifier.exists():
            return Defended(load(purifier), load(classifier)).eval()
        return load(purifier if purifier.exists() else classifier)
    tensors, metadata = read_tensors(path)
    if metadata.get("format") != FORMAT or "config" not in metadata:
        raise InputError(
            f"{path}: a safetensors file, but not a purespike checkpoint; for a model of your own "
            "give module:function instead"
        )
    config: Any = None
    try:
        config = json.loads(metadata["config"])
        model = _build(config)
        model.load_state_dict(tensors)
    except (RuntimeError, TypeError, KeyError, ValueError) as error:
        named = config.get("architecture") if isinstance(config, dict) else config
        detail = " ".join(str(error).split())[:200]
        raise InputError(f"{path}: weights do not match architecture {named!r}: {detail}") from error
    names = json.loads(metadata.get("class_names", "null"))
    if names:
        model.class_names = tuple(names)  # type: ignore[assignment]
    accuracy = _trained_accuracy(Path(path))
    if accuracy is not None:
        model.trained_accuracy = accuracy  # type: ignore[assignment]
    return model.eval()


def _trained_accuracy(path: Path) -> float | None:
    """Test accuracy that the training of a checkpoint recorded beside it; ``None`` where it did not."""
    with contextlib.suppress(InputError):
        rows = read_history(path.parent / "history.jsonl")
        values = [row.value("test_accuracy") for row in rows if row.stage == path.stem]
        return float(values[-1]) if values and values[-1] is not None else None
    return None


def read_tensors(path: str | Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """All tensors of a safetensors file on the CPU, and its metadata.

    Raises:
        InputError: missing, truncated, or not a safetensors file.
    """
    if not Path(path).is_file():
        raise InputError(f"{path}: no such checkpoint")
    try:
        with safe_open(path, framework="pt") as file:
            return {key: file.get_tensor(key) for key in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except SafetensorError as error:
        raise InputError(
            f"{path}: truncated, or not a safetensors file ({error}); copy it again, or train again"
        ) from error


def write_tensors(path: str | Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    """Write a safetensors file atomically.

    Raises:
        OSError: the disk is full, or the folder cannot be written.
    """
    stored = {key: value.detach().cpu().contiguous() for key, value in tensors.items()}
    with replacing(path) as temporary:
        try:
            save_file(stored, temporary, metadata)
        except SafetensorError as error:
            # the library reports a full disk as an error of its own, not as an OSError
            raise OSError(f"{path}: cannot be written: {error}") from error


def _known(config: Any) -> bool:
    # models of other libraries have a `config` too
    if not isinstance(config, dict) or "architecture" not in config:
        return False
    return config["architecture"] != "defended" or all(
        _known(config[part]) for part in ("purifier", "classifier")
    )


def _changed(model: nn.Module, config: dict[str, Any]) -> list[str]:
    """Names of the modules of ``model`` that its settings would build otherwise, or not at all."""
    # on this device nothing is computed or kept, and no random number drawn
    with torch.device("meta"):
        built = dict(_build(config).named_modules())
    own = dict(model.named_modules())

    def same(name: str) -> bool:
        one, other = own.get(name), built.get(name)
        if one is None or other is None or type(one) is not type(other):
            return False
        shapes = [[(key, value.shape) for key, value in each.state_dict().items()] for each in (one, other)]
        if any(one.children()):
            return True
        # the settings of a module are in its text; that of a list of parameters also names their device
        listed = isinstance(one, nn.ParameterList | nn.ParameterDict)
        return shapes[0] == shapes[1] and (listed or repr(one) == repr(other))

    return [name for name in dict.fromkeys((*built, *own)) if not same(name)]


def part_config(part: nn.Module) -> dict[str, Any]:
    """Architecture and settings of a model of purespike; the class name alone of any other."""
    config = getattr(part, "config", None)
    return (
        dict(config) if isinstance(config, dict) and _known(config) else {"architecture": type(part).__name__}
    )


def _plain(value: Any) -> Any:
    """JSON form of other values: arrays and tensors as lists, surrogates and dynamics as text."""
    return value.tolist() if hasattr(value, "tolist") else str(value)


def _build(config: dict[str, Any]) -> nn.Module:
    settings = dict(config)
    architecture = settings.pop("architecture")
    if architecture == "defended":
        return Defended(_build(settings["purifier"]), _build(settings["classifier"]))
    if architecture == "purifier":
        return Purifier(**settings, calibrated=False)
    return create(architecture, **settings)
