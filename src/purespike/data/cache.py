"""Decoded image sets on disk, so that a set is decoded once."""

import json
import logging
import os
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from purespike.data.image_set import Data, ImageSet
from purespike.errors import InputError
from purespike.files import replacing

_SPLITS = ("train", "test")
_log = logging.getLogger(__name__)


def default_cache_dir() -> Path:
    """``$PURESPIKE_CACHE``, or ``~/.cache/purespike``."""
    configured = os.environ.get("PURESPIKE_CACHE")
    return Path(configured).expanduser() if configured else Path.home() / ".cache" / "purespike"


def read_cached(path: Path, *, source: str, name: str) -> Data | None:
    """The sets stored at ``path``, or ``None`` if the file is missing or damaged."""
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            class_names = tuple(json.loads(metadata["class_names"]))
            sets = {
                split: ImageSet(
                    file.get_tensor(f"{split}_images"),
                    file.get_tensor(f"{split}_labels"),
                    class_names,
                    f"{name}/{split}",
                )
                for split in _SPLITS
            }
        if any(sets[split].fingerprint() != metadata[split] for split in _SPLITS):
            raise ValueError("its fingerprint does not match its content")
        return Data(source=source, **sets)
    except (SafetensorError, OSError, KeyError, TypeError, ValueError, InputError) as error:
        _log.warning("%s: damaged cache file, decoding again (%s)", path, error)
        return None


def write_cached(path: Path, data: Data) -> None:
    """Store ``data`` at ``path`` atomically; a failed write is a warning, not an error."""
    tensors = {}
    metadata = {"class_names": json.dumps(data.train.class_names)}
    for split, image_set in (("train", data.train), ("test", data.test)):
        tensors[f"{split}_images"] = image_set.images
        tensors[f"{split}_labels"] = image_set.labels
        metadata[split] = image_set.fingerprint()
    try:
        with replacing(path) as temporary:
            save_file(tensors, temporary, metadata=metadata)
    except (OSError, SafetensorError) as error:
        _log.warning("%s: cannot be written, the set is decoded again next time (%s)", path, error)
