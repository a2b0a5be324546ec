"""Sets that the Hugging Face ``datasets`` library loads: hub names, parquet directories, image folders."""

import contextlib
import hashlib
import ssl
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from purespike.data.cache import default_cache_dir, read_cached, write_cached
from purespike.data.decoding import decode, decode_split, find_columns
from purespike.data.image_set import Data, ImageSet, ordered_classes
from purespike.errors import InputError
from purespike.reading import brief

if TYPE_CHECKING:
    from datasets import Dataset

_PROBE_SECONDS = 5
# increased when decoding changes, so that no run reads images that an older version decoded
_CACHE_VERSION = 2


def load_hub(
    name: str,
    *,
    source: str,
    config: str | None = None,
    label: str | None = None,
    cache_dir: Path | None = None,
) -> Data:
    """Load ``OWNER/NAME`` from the hub, or a local directory of parquet files through the same code.

    Args:
        name: hub name, or path of a directory.
        source: source as the user wrote it; the sets are named after it.
        config: configuration of a set that has several.
        label: name of the splits in messages, by default the last part of ``name``.
        cache_dir: folder of decoded sets, by default ``$PURESPIKE_CACHE`` or ``~/.cache/purespike``.

    Raises:
        InputError: unreachable, unknown, or not an image classification set with the splits train and test.
    """
    local = name.startswith(("/", "./", "../", "~")) or Path(name).is_dir()
    path = str(Path(name).expanduser()) if local else name
    if local and not Path(path).is_dir():
        raise InputError(f"{path}: no such directory; hub: takes OWNER/NAME or a directory of parquet files")
    with _offline_if_unreachable(local):
        splits = _load_splits(path, name=config, source=source, local=local)
    return _decoded(splits, source, label or Path(path).name, cache_dir)


def load_folder(folder: str, *, source: str, cache_dir: Path | None = None) -> Data:
    """Load ``train/CLASS/*.png`` and ``test/CLASS/*.png`` (or another image format) below ``folder``.

    Classes are in natural order, ``2`` before ``10``; names that are all whole numbers are the labels.

    Raises:
        InputError: a directory is missing, or not an image classification set.
    """
    path = Path(folder).expanduser().absolute()
    for needed in (path, path / "train", path / "test"):
        if not needed.is_dir():
            raise InputError(
                f"{needed}: no such directory; put images under train/CLASS/ and test/CLASS/, or evaluate "
                "a folder of CLASS/*.png with --split all"
            )
    # explicit, because the library would read train/test-tube/1.png as a test image
    files = {"train": "train/**", "test": "test/**"}
    # by default the library gives train no labels if only test has a second class
    options: dict[str, Any] = {"data_dir": str(path), "data_files": files, "drop_labels": False}
    splits = _load_splits("imagefolder", source=source, local=True, **options)
    _check_directories(path, splits["train"].features.get("label"))
    data = _decoded(splits, source, path.name, cache_dir)
    names = ordered_classes(data.train.class_names)
    return Data(source=source, train=data.train.with_classes(names), test=data.test.with_classes(names))


def is_flat(folder: str) -> bool:
    """Whether ``folder`` holds directories, but neither ``train`` nor ``test``."""
    path = Path(folder).expanduser()
    names = {entry.name for entry in path.iterdir() if entry.is_dir()} if path.is_dir() else set()
    return bool(names) and not names & {"train", "test"}


def load_flat_folder(folder: str, *, source: str) -> ImageSet:
    """Load ``CLASS/*.png`` (or another image format) below ``folder`` as one set.

    Raises:
        InputError: no images, or images outside ``CLASS/``.
    """
    path = Path(folder).expanduser().absolute()
    options: dict[str, Any] = {"data_dir": str(path), "data_files": {"images": "**"}, "drop_labels": False}
    table = _load_splits("imagefolder", needed=("images",), source=source, local=True, **options)["images"]
    image_column, label_column = find_columns(table.features, path.name)
    images = decode_split(
        table, image_column=image_column, label_column=label_column, name=f"{path.name}/all"
    )
    outside = set(images.class_names) - {entry.name for entry in path.iterdir() if entry.is_dir()}
    if outside:
        raise InputError(f"{path}: images of class {min(outside)!r} lie outside CLASS/; put them into one")
    return images.with_classes(ordered_classes(images.class_names))


def _check_directories(path: Path, label: Any) -> None:
    directories = {
        split: {entry.name for entry in (path / split).iterdir() if entry.is_dir() and entry.name[0] != "."}
        for split in ("train", "test")
    }
    # another label column comes from a metadata file, which needs no directories
    found = set(getattr(label, "names", None) or directories["train"])
    if stray := found - directories["train"] - directories["test"]:
        raise InputError(
            f"{path}: images of class {min(stray)!r} lie outside train/CLASS/ and test/CLASS/; "
            "put each image directly into the directory of its class"
        )
    if empty := directories["train"] - found:
        raise InputError(f"{path / 'train' / min(empty)}: no images; add some or remove the directory")


def _load_splits(
    path: str,
    *,
    source: str,
    local: bool,
    needed: Sequence[str] = ("train", "test"),
    **options: Any,
) -> dict[str, "Dataset"]:
    import datasets

    try:
        with _progress_bars_only_on_a_terminal():
            splits = datasets.load_dataset(path, **options)
    except ConnectionError as error:
        raise InputError(
            f"{source}: the Hugging Face hub cannot be reached and no earlier download is on this machine; "
            "connect, or use local data: npz:/path/NAME, folder:/path or hub:/path/of/parquet/files"
        ) from error
    # the errors that foreign files and servers cause in the library have no common base class
    except Exception as error:
        remedy = "" if local else "; or use local data: npz:/path/NAME, folder:/path"
        raise InputError(f"{source}: cannot be loaded: {_one_line(error)}{remedy}") from error
    missing = [split for split in needed if split not in splits]
    if missing:
        raise InputError(
            f"{source}: no split {' and '.join(missing)} (found: {', '.join(splits)}); both are needed: "
            "name the files train-*.parquet and test-*.parquet, or the directories train/ and test/"
        )
    return {split: splits[split] for split in needed}


def _decoded(splits: dict[str, "Dataset"], source: str, label: str, cache_dir: Path | None) -> Data:
    train, test = splits["train"], splits["test"]
    image_column, label_column = find_columns(train.features, label)
    identity = [_CACHE_VERSION, image_column, label_column, train._fingerprint, test._fingerprint]
    key = hashlib.sha256(repr(identity).encode()).hexdigest()[:16]
    path = (cache_dir or default_cache_dir()) / f"{label}-{key}.safetensors"
    data = read_cached(path, source=source, name=label)
    if data is None:
        data = decode(
            train, test, image_column=image_column, label_column=label_column, source=source, name=label
        )
        write_cached(path, data)
    return data


@contextlib.contextmanager
def _offline_if_unreachable(local: bool) -> Iterator[None]:
    """Use the library's own cache if the hub is unreachable; the library would retry for half a minute."""
    from datasets import config

    if local or config.HF_HUB_OFFLINE or _is_reachable(config.HF_ENDPOINT):
        yield
        return
    config.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        config.HF_HUB_OFFLINE = False


def _is_reachable(address: str) -> bool:
    try:
        urllib.request.urlopen(urllib.request.Request(address, method="HEAD"), timeout=_PROBE_SECONDS).close()
    except urllib.error.HTTPError:
        return True
    except urllib.error.URLError as error:
        # a certificate that only the library's own client accepts does not mean that the hub is unreachable
        return isinstance(error.reason, ssl.SSLError)
    except (OSError, ValueError):
        return False
    return True


@contextlib.contextmanager
def _progress_bars_only_on_a_terminal() -> Iterator[None]:
    import datasets

    if sys.stderr.isatty() or not datasets.is_progress_bar_enabled():
        yield
        return
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        datasets.enable_progress_bars()


def _one_line(error: BaseException) -> str:
    from datasets.exceptions import DatasetGenerationError

    # its own text is only "An error occurred while generating the dataset"
    while isinstance(error, DatasetGenerationError) and error.__cause__ is not None:
        error = error.__cause__
    return brief(error, limit=300)
