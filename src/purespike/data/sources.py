"""Sources of images, as written after ``--data``."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from purespike.data.arrays import load_arrays
from purespike.data.digits import load_digits
from purespike.data.events import DIGITS_CAP, load_digits_events, load_event_folder
from purespike.data.hub import is_flat, load_flat_folder, load_folder, load_hub
from purespike.data.idx import load_idx
from purespike.data.image_set import Data, ImageSet, validate
from purespike.errors import InputError, kind_of, unknown
from purespike.reading import reading
from purespike.registration import registering

Loader = Callable[[str, Path | None], Data]
"""The text after the colon of a source and the cache folder, to images."""

_SOURCES: dict[str, tuple[Loader, str]] = {}


@registering('@data_source("stripes", form="stripes:PERIOD")')
def data_source(name: str, *, form: str = "") -> Callable[[Loader], Loader]:
    """Register a source of images: recipes and ``--data`` can name it at once.

    Args:
        name: name of the source, before the colon if it takes a text after one.
        form: spelling of a source that takes a text after a colon, e.g. ``"npz:/path/NAME"``.

    Raises:
        InputError: the name is taken or holds a colon, or the form is not the name with a text after a colon.

    In a file of one's own::

        @data_source("stripes")
        def stripes(rest: str, cache_dir: Path | None) -> Data:
            return Data("stripes", train=ImageSet(...), test=ImageSet(...))
    """

    if not name or ":" in name:
        raise InputError(f"data source {name!r}: a name without a colon; what follows one belongs to form")
    if form and (not form.startswith(f"{name}:") or form == f"{name}:"):
        raise InputError(
            f"data source {name!r}: form {form!r} is not its name with a text after a colon, "
            f"e.g. '{name}:PATH'; leave it out if there is no such text"
        )

    def register(load: Loader) -> Loader:
        if name in _SOURCES:
            raise InputError(f"data source {name!r} is registered twice")
        _SOURCES[name] = load, form
        return load

    return register


def load_data(source: str, *, cache_dir: Path | None = None) -> Data:
    """Load the train and test images of a source.

    ========================  ============================================================================
    ``digits``                scikit-learn's digits, enlarged to 32x32, three channels; needs no download
    ``digits16``              the same, enlarged to 16x16, one channel
    ``digits-events``         the same before a simulated moving event camera: frames, each 0 or 1
    ``digits-events-counts``  the same with counts of up to 5 events
    ``mnist`` …               ``cifar10``, ``fashion_mnist``, ``cifar100``, ``svhn``: downloaded once
    ``hub:OWNER/NAME``        any image classification set of the hub, also ``hub:OWNER/NAME:CONFIG``
    ``hub:/path``             a directory with ``train-*.parquet`` and ``test-*.parquet``
    ``folder:/path``          ``train/CLASS/*.png`` and ``test/CLASS/*.png``
    ``npz:/path/NAME``        ``NAME-train.npz`` and ``NAME-test.npz``, arrays ``x`` and ``y``
    ``idx:/path``             MNIST's four idx files, also with ``.gz``; ``idx:/path/NAME`` for
                              ``NAME-train-…``
    ``events:/path``          event files ``train/CLASS/*.npy`` (``.bin``, ``.aedat``), or DVS128 gestures,
                              as frames; settings follow the path, ``events:/path:steps=10:cap=1``
    ========================  ============================================================================

    Args:
        source: one of the above, or a registered source of one's own.
        cache_dir: folder of decoded hub and folder sets, by default ``$PURESPIKE_CACHE`` or
            ``~/.cache/purespike``.

    Raises:
        InputError: the source is unknown, missing, damaged, or cannot train a classifier.
    """
    return validate(_load(source, cache_dir))


def source_names() -> list[str]:
    """Names of all sources, without what follows a colon."""
    return list(_SOURCES)


def is_downloaded(source: str) -> bool:
    """Whether loading ``source`` asks the hub for it, be it kept here already or not."""
    name, _, rest = source.partition(":")
    load = _SOURCES.get(name, (None, ""))[0]
    hosted = isinstance(load, partial) and load.func is _hosted
    return hosted or (load is _hub and not Path(rest).expanduser().is_dir())


SPLITS = ("test", "train", "all")
"""Splits that can be evaluated; ``all`` are both together, or a folder that is not split."""


def load_images(source: str, *, split: str = "test", cache_dir: Path | None = None) -> ImageSet:
    """Load the images of one split for an evaluation, for which no class needs a training image.

    Args:
        source: as :func:`load_data` takes it; with ``split="all"`` also ``folder:/path`` of ``CLASS/*.png``.
        split: ``"test"``, ``"train"``, or ``"all"``.
        cache_dir: as for :func:`load_data`.

    Raises:
        InputError: the source is unknown, missing or damaged, or has no such split.
    """
    if split not in SPLITS:
        raise unknown("split", split, SPLITS)
    name, _, rest = source.partition(":")
    if name == "folder" and rest and is_flat(rest):
        if split != "all":
            raise InputError(
                f"{rest}: has no train/ and test/ to choose from; evaluate all its images with --split all"
            )
        return load_flat_folder(rest, source=source)
    data = _load(source, cache_dir)
    return data.whole() if split == "all" else data.train if split == "train" else data.test


def list_sources() -> dict[str, str]:
    """The spelling of every registered source, with the docstring of what loads it."""
    return {
        form or name: getattr(load, "func", load).__doc__ or "" for name, (load, form) in _SOURCES.items()
    }


def _load(source: str, cache_dir: Path | None) -> Data:
    if not isinstance(source, str):
        raise InputError(f"data set: name a source, e.g. 'digits16'; got {kind_of(source)}")
    name, separator, rest = source.partition(":")
    load, form = _SOURCES.get(name, (None, ""))
    if load is None or bool(form) != bool(separator):
        raise unknown("data set", source, [form or name for name, (_, form) in _SOURCES.items()])
    if separator and not rest:
        forms = ", ".join(form for _, form in _SOURCES.values() if form)
        raise InputError(f"data set {source!r} names nothing after the colon; write {forms}")
    with reading(f"data source {name!r}", "failed"):
        data = load(rest, cache_dir)
    if not isinstance(data, Data):
        raise InputError(f"data source {name!r}: must return purespike.data.Data, got {kind_of(data)}")
    return data


@data_source("digits")
def _digits(rest: str, cache_dir: Path | None) -> Data:
    """1,797 scanned digits of scikit-learn, enlarged to 32×32, three channels; built in."""
    return load_digits("digits", side=32, channels=3)


@data_source("digits16")
def _digits16(rest: str, cache_dir: Path | None) -> Data:
    """The same, enlarged to 16×16, one channel; built in."""
    return load_digits("digits16", side=16, channels=1)


@data_source("digits-events")
def _digits_events(rest: str, cache_dir: Path | None) -> Data:
    """The same before a simulated moving event camera: frames, each 0 or 1; built in."""
    return load_digits_events("digits-events", cap=1)


@data_source("digits-events-counts")
def _digits_events_counts(rest: str, cache_dir: Path | None) -> Data:
    """The same with counts of up to 5 events; built in."""
    return load_digits_events("digits-events-counts", cap=DIGITS_CAP)


def _hosted(name: str, place: str, config: str | None, rest: str, cache_dir: Path | None) -> Data:
    """Downloaded once, then read from the cache."""
    return load_hub(place, source=name, config=config, label=name, cache_dir=cache_dir)


for _name, _place, _config in (
    ("mnist", "ylecun/mnist", None),
    ("fashion_mnist", "zalando-datasets/fashion_mnist", None),
    ("cifar10", "uoft-cs/cifar10", None),
    ("cifar100", "uoft-cs/cifar100", None),
    ("svhn", "ufldl-stanford/svhn", "cropped_digits"),
):
    data_source(_name)(partial(_hosted, _name, _place, _config))


@data_source("hub", form="hub:OWNER/NAME")
def _hub(rest: str, cache_dir: Path | None) -> Data:
    """Any image classification set of the Hugging Face hub, or a directory of parquet files."""
    name, config = (rest, None) if Path(rest).expanduser().is_dir() else _split_config(rest)
    return load_hub(name, source=f"hub:{rest}", config=config, cache_dir=cache_dir)


@data_source("folder", form="folder:/path")
def _folder(rest: str, cache_dir: Path | None) -> Data:
    """``train/CLASS/*.png`` and ``test/CLASS/*.png``, or other formats of images."""
    return load_folder(rest, source=f"folder:{rest}", cache_dir=cache_dir)


@data_source("events", form="events:/path")
def _events(rest: str, cache_dir: Path | None) -> Data:
    """Event files ``train/CLASS/*.npy`` (``.bin``, ``.aedat``), or DVS128 gestures, as frames."""
    return load_event_folder(rest)


@data_source("npz", form="npz:/path/NAME")
def _npz(rest: str, cache_dir: Path | None) -> Data:
    """``NAME-train.npz`` and ``NAME-test.npz``: ``x`` uint8 ``[N, H, W]`` or ``[N, H, W, C]``, and ``y``."""
    return load_arrays(rest)


@data_source("idx", form="idx:/path")
def _idx(rest: str, cache_dir: Path | None) -> Data:
    """MNIST's four idx files, also with ``.gz``; ``idx:/path/NAME`` for ``NAME-train-…``."""
    return load_idx(rest)


def _split_config(name: str) -> tuple[str, str | None]:
    name, _, config = name.partition(":")
    return name, config or None
