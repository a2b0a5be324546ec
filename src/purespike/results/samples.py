"""A few images clean, attacked and purified: the content of ``samples.npz``."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np

from purespike.errors import InputError
from purespike.files import replacing
from purespike.reading import read_npz

_IMAGES = ("clean", "adversarial", "purified")
_LABELS = ("labels", "undefended_prediction", "defended_prediction")
# of the attacker who knows the purifier; files of older runs have none
_ADAPTIVE_IMAGES = ("adaptive", "adaptive_purified")
_ADAPTIVE_LABELS = ("adaptive_prediction",)


@dataclass(frozen=True, eq=False, kw_only=True)
class Samples:
    """Example images with their classes.

    Args:
        clean: images ``[N, C, H, W]`` in [0, 1]; C is 1, 3, or 2T for frames of events.
        adversarial: the same images, attacked so that the classifier alone misreads them.
        purified: these images purified.
        labels: true classes ``[N]``.
        undefended_prediction: classes that the classifier alone sees in the attacked images, ``[N]``.
        defended_prediction: classes that it sees in the purified ones, ``[N]``.
        adaptive: the clean images, attacked so that purifier and classifier together misread them; ``None``
            where they were not made.
        adaptive_purified: these images purified.
        adaptive_prediction: classes that the classifier sees in the latter, ``[N]``.
        caption: the attack, its bound and its threat models.
        class_names: name of each class; may be empty.
    """

    clean: np.ndarray
    adversarial: np.ndarray
    purified: np.ndarray
    labels: np.ndarray
    undefended_prediction: np.ndarray
    defended_prediction: np.ndarray
    adaptive: np.ndarray | None = None
    adaptive_purified: np.ndarray | None = None
    adaptive_prediction: np.ndarray | None = None
    caption: str = ""
    class_names: tuple[str, ...] = ()

    def save(self, path: str | Path) -> None:
        """Write the samples atomically as an ``.npz`` without pickles."""
        names = _names(adaptive=self.adaptive is not None)
        arrays = {name: getattr(self, name) for part in names for name in part}
        arrays |= {"caption": np.array(self.caption), "class_names": np.array(self.class_names, dtype=str)}
        with replacing(path) as temporary, open(temporary, "wb") as file:
            np.savez(file, **arrays)

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """Read what :meth:`save` wrote.

        Raises:
            InputError: missing, not an archive, or arrays of a wrong shape.
        """
        arrays = read_arrays(path)
        adaptive = any(name in arrays for name in (*_ADAPTIVE_IMAGES, *_ADAPTIVE_LABELS))
        images, labels = _names(adaptive=adaptive)
        absent = [name for name in (*images, *labels) if name not in arrays]
        if absent:
            raise InputError(f"{path}: no array {absent[0]!r}")
        shape = arrays["clean"].shape
        channels = shape[1] if len(shape) == 4 else 0
        fit = channels in (1, 3) or (channels and channels % 2 == 0)
        if not fit or any(arrays[name].shape != shape for name in images):
            raise InputError(
                f"{path}: images must share one shape [N, C, H, W] with C 1, 3, or 2 a frame of events, got "
                f"{list(shape)}"
            )
        if any(arrays[name].shape != shape[:1] for name in labels) or not shape[0]:
            raise InputError(f"{path}: expected one label and one prediction for each of {shape[0]} images")
        return cls(
            **{name: arrays[name] for name in (*images, *labels)},
            caption=str(arrays.get("caption", "")),
            class_names=tuple(str(name) for name in arrays.get("class_names", ())),
        )


def _names(*, adaptive: bool) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names of the arrays of images, and of those of classes."""
    if not adaptive:
        return _IMAGES, _LABELS
    return (*_IMAGES, *_ADAPTIVE_IMAGES), (*_LABELS, *_ADAPTIVE_LABELS)


def read_arrays(path: str | Path, *, hint: str = "") -> dict[str, np.ndarray]:
    """The arrays of an ``.npz`` archive without pickles, by name.

    Raises:
        InputError: missing or not such an archive.
    """
    return read_npz(path, hint=hint)
