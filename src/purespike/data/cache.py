"""Decoded image sets on disk, so that a set is decoded once."""

import json
import logging
import os
from pathlib import Path

from purespike.data.image_set import Data, ImageSet
from purespike.reading import brief
from purespike.tensors import read_tensors, write_tensors

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
        tensors, metadata = read_tensors(path)
        class_names = tuple(json.loads(metadata["class_names"]))
        sets = {
            split: ImageSet(
                tensors[f"{split}_images"], tensors[f"{split}_labels"], class_names, f"{name}/{split}"
            )
            for split in _SPLITS
        }
        if any(sets[split].fingerprint() != metadata[split] for split in _SPLITS):
            raise ValueError("its fingerprint does not match its content")
        return Data(source=source, **sets)
    # whatever is wrong with a kept copy, the original is there
    except Exception as error:
        _log.warning("%s: damaged cache file, decoding again (%s)", path, brief(error))
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
        write_tensors(path, tensors, metadata)
    except OSError as error:
        _log.warning("%s: cannot be written, the set is decoded again next time (%s)", path, error)
