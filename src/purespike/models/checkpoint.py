"""Models on disk: weights and architecture in one safetensors file, without pickle."""

import contextlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from purespike.errors import InputError
from purespike.events import BackgroundActivityFilter
from purespike.files import as_path
from purespike.models.defended import Defended
from purespike.models.guard import Guard
from purespike.models.identity import settings_of
from purespike.models.purifier import Purifier
from purespike.models.registry import create
from purespike.models.released import with_released
from purespike.modes import float32_by_default
from purespike.reading import brief, parse_json
from purespike.results import read_history
from purespike.tensors import first_not_finite, read_tensors, write_tensors

FORMAT = "purespike/1"
# what a checkpoint names and its user may have registered
_UNKNOWN = ("unknown model", "unknown dynamics", "unknown surrogate", "unknown coding")
# models made of others, and their parts
_PARTS = {
    "defended": ("purifier", "classifier"),
    "gated": ("purifier", "classifier"),
    "rejecting": ("model",),
}

# what runs beside a module's forward and backward
_HOOKS = ("_forward_pre_hooks", "_forward_hooks", "_backward_pre_hooks", "_backward_hooks")


def save(
    model: nn.Module,
    path: str | Path,
    *,
    class_names: tuple[str, ...] | None = None,
    metadata: Mapping[str, str] | None = None,
    half: bool = False,
) -> None:
    """Write ``model`` to ``path`` atomically: weights, architecture, and the names of its classes.

    Args:
        model: made by :func:`purespike.models.create`, a ``Purifier``, or a ``Defended``, ``Gated`` or
            ``Rejecting`` of these.
        path: a ``.safetensors`` file; replaced only once the new one is complete.
        class_names: K names; by default those in ``model.class_names``, if any.
        metadata: further entries of the file's header.
        half: write weights in half precision (float16), in half the bytes; :func:`load` reads them as
            float32, rounded.

    Raises:
        InputError: ``path`` is a folder; a model (or a part of a ``Defended``) that purespike does not know,
            or whose modules are not those that its settings build, or have hooks; weights that are NaN or
            infinite, or too large for half precision; another number of names than classes.
    """
    if as_path(path, name="save").is_dir():
        raise InputError(f"save: {path} is a folder; name a file, {Path(path) / 'model.safetensors'}")
    config: Any = getattr(model, "config", None)
    if not _known(config):
        raise InputError(
            f"save: {type(model).__name__} is not made of purespike's own models alone; save the "
            "purifier alone and put it before your classifier with Defended(purifier, classifier)"
        )
    changed = _changed(model, config)
    if changed:
        places = ", ".join(name or "the model itself" for name in changed[:3])
        places += " …" if len(changed) > 3 else ""
        raise InputError(
            f"save: {places} of {config['architecture']} was replaced or set anew, and a checkpoint would "
            "not bring that back; keep the state_dict and the function that builds your model"
        )
    if hooked := _hooked(model):
        raise InputError(
            f"save: {hooked}, and a checkpoint would not bring that back; remove it first (the handle's "
            "remove(), or del module.forward), or keep the state_dict and the function that builds your model"
        )
    names = class_names or getattr(model, "class_names", None)
    if names:
        names = _check_names(names, model, "save: class_names")
    if broken := _not_finite(model.state_dict()):
        raise InputError(f"save: {broken}")
    header = {
        **_entries(metadata),
        "format": FORMAT,
        "config": json.dumps(config, default=_plain),
        "class_names": json.dumps(list(names) if names else None),
    }
    weights = model.state_dict()
    write_tensors(path, _halved(weights) if half else weights, header)


def _entries(metadata: Mapping[str, str] | None) -> dict[str, str]:
    entries = metadata or {}
    if isinstance(entries, Mapping) and all(
        isinstance(part, str) for entry in entries.items() for part in entry
    ):
        return dict(entries)
    raise InputError("save: metadata: a mapping of texts to texts is needed")


def _halved(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights in float16, all else as it is."""
    result = {name: value.half() if value.is_floating_point() else value for name, value in weights.items()}
    if (name := first_not_finite(result)) is not None:
        largest = weights[name].abs().max().item()
        raise InputError(f"save: {name} reaches {largest:.3g}, too large for half precision; save it in full")
    return result


def load(path: str | Path) -> nn.Module:
    """Read a model that :func:`save` wrote, in evaluation mode on the CPU, in float32.

    Args:
        path: a ``.safetensors`` file; a run folder, read as its purifier in front of its classifier, or as
            the only one of them that it holds; or a folder with a ``model.safetensors``.

    Raises:
        InputError: no such file, truncated, not a purespike checkpoint, weights that do not fit the
            architecture of the file, or that are NaN or infinite.
    """
    if as_path(path, name="load").is_dir():
        classifier, purifier = (Path(path) / f"{name}.safetensors" for name in ("classifier", "purifier"))
        whole = Path(path) / "model.safetensors"
        if whole.exists() and not purifier.exists() and not classifier.exists():
            return load(whole)
        if purifier.exists() and classifier.exists():
            return Defended(load(purifier), with_released(load(classifier), Path(path))).eval()
        return load(purifier if purifier.exists() else classifier)
    tensors, metadata = read_tensors(path)
    if metadata.get("format") != FORMAT or "config" not in metadata:
        raise InputError(
            f"{path}: a safetensors file, but not a purespike checkpoint; for a model of your own "
            "give module:function instead"
        )
    config = parse_json(metadata["config"], f"{path}: config")
    named = config.get("architecture") if isinstance(config, dict) else config
    try:
        with float32_by_default():
            # on the meta device first: a few bytes of settings must not decide how much memory is taken
            with torch.device("meta"):
                _compare(config, tensors)
            model = _build(config)
            model.load_state_dict(tensors)
    except Exception as error:
        if isinstance(error, InputError) and str(error).startswith(_UNKNOWN):
            hint = "; if it is a part of your own, import its module first (--import)"
            raise InputError(f"{path}: {error}{hint}") from error
        fault = f"weights do not match architecture {str(named)[:40]!r}"
        raise InputError(f"{path}: {fault}: {brief(error)}") from error
    if broken := _not_finite(tensors):
        raise InputError(f"{path}: {broken}; train again, or use an earlier checkpoint")
    names = parse_json(metadata.get("class_names", "null"), f"{path}: class_names")
    if names is not None:
        model.class_names = _check_names(names, model, f"{path}: class_names")  # type: ignore[assignment]
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


def _not_finite(tensors: Mapping[str, Tensor]) -> str:
    """The first tensor that holds NaN or infinity, in words; empty if all are finite."""
    if (name := first_not_finite(tensors)) is None:
        return ""
    value = tensors[name]
    count = int((~value.isfinite()).sum())
    return f"weights that are not numbers: {name} holds {count} of {value.numel()} NaN or infinite"


def _compare(config: Any, tensors: Mapping[str, Tensor], prefix: str = "") -> None:
    """Refuse settings whose model would not hold exactly the ``tensors`` under ``prefix``, part by part."""
    if parts := _PARTS.get(config["architecture"]):
        for part in parts:
            _compare(config[part], tensors, f"{prefix}{part}.")
        return
    expected = {f"{prefix}{name}": value for name, value in _build(config).state_dict().items()}
    found = {name: value for name, value in tensors.items() if name.startswith(prefix)}
    for name in sorted(expected.keys() ^ found.keys()):
        raise InputError(f"{'no' if name in expected else 'unexpected'} tensor {name}")
    for name, value in expected.items():
        given = found[name]
        if given.shape != value.shape:
            raise InputError(f"{name} is {list(given.shape)}, expected {list(value.shape)}")
        if given.dtype != value.dtype and not (given.is_floating_point() and value.is_floating_point()):
            raise InputError(f"{name} is {given.dtype}, expected {value.dtype}")


def _check_names(names: Any, model: nn.Module, place: str) -> tuple[str, ...]:
    """``names``, if they are one text for each class of ``model``."""
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        raise InputError(f"{place}: must be a list of texts, one for each class")
    while not hasattr(model, "num_classes") and isinstance(getattr(model, "classifier", None), nn.Module):
        model = cast(nn.Module, model.classifier)
    classes = getattr(model, "num_classes", None)
    if classes is not None and len(names) != classes:
        raise InputError(f"{place}: {len(names)} names, but the model has {classes} classes")
    return tuple(names)


def _known(config: Any) -> bool:
    # models of other libraries have a `config` too
    if not isinstance(config, dict) or "architecture" not in config:
        return False
    return all(_known(config[part]) for part in _PARTS.get(str(config["architecture"]), ()))


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
            # what a file holds beside the settings
            mine, theirs = ({**settings_of(each), "class_names": ""} for each in (one, other))
            return all(mine.get(key) == value for key, value in theirs.items())
        # the settings of a module are in its text; that of a list of parameters also names their device
        listed = isinstance(one, nn.ParameterList | nn.ParameterDict)
        return shapes[0] == shapes[1] and (listed or repr(one) == repr(other))

    return [name for name in dict.fromkeys((*built, *own)) if not same(name)]


def _hooked(model: nn.Module) -> str:
    """The first module that computes or differentiates otherwise than its class does; empty if none does."""
    for name, module in model.named_modules():
        place = f"{name or 'the model'} ({type(module).__name__})"
        if any(getattr(module, hooks) for hooks in _HOOKS):
            return f"{place} has a hook"
        own = vars(module)
        # Accelerate's, in half precision, keeps the one that it wraps
        if "forward" in own and "_original_forward" not in own and not isinstance(own["forward"], Guard):
            return f"{place} has a forward of its own"
    return ""


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
    if architecture in _PARTS:
        # a room above this one: only a file that holds such a model needs it
        from purespike.rejection import Gated, Rejecting

        parts: dict[str, Any] = {part: _build(settings.pop(part)) for part in _PARTS[architecture]}
        return (Gated if architecture == "gated" else Rejecting)(**parts, **settings)
    if architecture == "purifier":
        return Purifier(**settings, calibrated=False)
    if architecture == "background_activity":
        return BackgroundActivityFilter(**settings)
    return create(architecture, **settings)
