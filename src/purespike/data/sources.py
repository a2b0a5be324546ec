"""From what the user writes after ``--data`` to images in memory."""

from dataclasses import dataclass
from pathlib import Path

from purespike.data.arrays import load_arrays
from purespike.data.digits import load_digits
from purespike.data.hub import load_folder, load_hub
from purespike.data.image_set import Data, validate
from purespike.errors import InputError, unknown


@dataclass(frozen=True)
class _Hosted:
    name: str
    config: str | None = None


_HOSTED = {
    "mnist": _Hosted("ylecun/mnist"),
    "fashion_mnist": _Hosted("zalando-datasets/fashion_mnist"),
    "cifar10": _Hosted("uoft-cs/cifar10"),
    "cifar100": _Hosted("uoft-cs/cifar100"),
    "svhn": _Hosted("ufldl-stanford/svhn", "cropped_digits"),
}
_KINDS = ("hub", "folder", "npz")
_FORMS = ("hub:OWNER/NAME", "folder:/path", "npz:/path/NAME")


def load_data(source: str, *, cache_dir: Path | None = None) -> Data:
    """Load the train and test images of a source.

    ======================  ========================================================================
    ``digits``              scikit-learn's digits, enlarged to 32x32; needs no download
    ``mnist``, ``cifar10``  and ``fashion_mnist``, ``cifar100``, ``svhn``: downloaded once
    ``hub:OWNER/NAME``      any image classification set of the hub, also ``hub:OWNER/NAME:CONFIG``
    ``hub:/path``           a directory with ``train-*.parquet`` and ``test-*.parquet``
    ``folder:/path``        ``train/CLASS/*.png`` and ``test/CLASS/*.png``
    ``npz:/path/NAME``      ``NAME-train.npz`` and ``NAME-test.npz``, arrays ``x`` and ``y``
    ======================  ========================================================================

    Args:
        source: one of the above.
        cache_dir: where decoded hub and folder sets are kept, by default ``$PURESPIKE_CACHE`` or
            ``~/.cache/purespike``.

    Raises:
        InputError: the source is unknown, missing, damaged, or cannot train a classifier.
    """
    return validate(_load(source, cache_dir))


def _load(source: str, cache_dir: Path | None) -> Data:
    if source == "digits":
        return load_digits()
    if hosted := _HOSTED.get(source):
        return load_hub(hosted.name, source=source, config=hosted.config, label=source, cache_dir=cache_dir)
    kind, separator, rest = source.partition(":")
    if not separator or kind not in _KINDS:
        raise unknown("data set", source, ["digits", *_HOSTED, *_FORMS])
    if not rest:
        raise InputError(f"data set {source!r} names nothing after the colon; write {', '.join(_FORMS)}")
    if kind == "npz":
        return load_arrays(rest)
    if kind == "folder":
        return load_folder(rest, source=source, cache_dir=cache_dir)
    name, config = (rest, None) if Path(rest).expanduser().is_dir() else _split_config(rest)
    return load_hub(name, source=source, config=config, cache_dir=cache_dir)


def _split_config(name: str) -> tuple[str, str | None]:
    name, _, config = name.partition(":")
    return name, config or None
