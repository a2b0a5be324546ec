"""Work on many images in chunks: shared among processes, and kept on disk so that a killed run resumes."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeVar

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import Tensor, nn

from purespike.checks import as_float
from purespike.errors import InputError, kind_of
from purespike.files import as_path
from purespike.results.record import Record

T = TypeVar("T")
R = TypeVar("R", bound=Record)


class Format(Protocol[T]):
    """File format of a finished piece; reading a damaged one raises an :class:`InputError`."""

    suffix: str

    def read(self, path: Path) -> T: ...

    def write(self, path: Path, value: T) -> None: ...


class Json(Format[R]):
    """A :class:`~purespike.results.record.Record` as JSON."""

    suffix = ".json"

    def __init__(self, kind: type[R]) -> None:
        self.kind = kind

    def read(self, path: Path) -> R:
        return self.kind.read(path)

    def write(self, path: Path, value: R) -> None:
        value.save(path)


class Store:
    """Finished pieces in a folder, each under a digest of everything that decides it.

    Args:
        folder: place of the pieces, made if missing; ``None`` keeps nothing.
        decided_by: values that decide every piece: seeds, settings, and lists of tensors.
    """

    def __init__(self, folder: str | Path | None, *decided_by: Any) -> None:
        self.folder = None if folder is None else as_path(folder, name="folder")
        self._common = hashlib.sha256()
        if folder is not None:
            for part in decided_by:
                _update(self._common, part)

    def get(
        self, form: Format[T], key: Any, compute: Callable[[], T], *, write: bool = True, valid: Any = None
    ) -> T:
        """The piece kept by an earlier run, else the result of ``compute``, which is then kept.

        A damaged piece is computed again.

        Args:
            form: file format of the piece.
            key: value that decides this piece, beside those that decide all; a list may hold tensors.
            compute: function that makes the piece.
            write: whether this process keeps its result.
            valid: check of a piece that was read, beyond its type; ``None`` for none.
        """
        if self.folder is None:
            return compute()
        digest = self._common.copy()
        _update(digest, key)
        path = self.folder / f"{digest.hexdigest()[:24]}{form.suffix}"
        if path.exists():
            try:
                kept = form.read(path)
            except InputError:
                kept = None
            if kept is not None and (valid is None or valid(kept)):
                return kept
        value = compute()
        if write:
            form.write(path, value)
        return value


def accelerator_for(model: nn.Module, given: Accelerator | None = None) -> Accelerator:
    """``given``, or one of the device that ``model`` is on.

    Raises:
        InputError: ``given`` is no accelerator.
    """
    if given is None:
        device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
        return Accelerator(cpu=device.type == "cpu")
    if not isinstance(given, Accelerator):
        raise InputError(f"accelerator: expected an accelerate.Accelerator, got {kind_of(given)}")
    return given


def shares(count: int, size: int, accelerator: Accelerator) -> range:
    """First rows of this process's chunks of ``size`` out of ``count`` rows.

    Chunks, and hence seeds made of their first rows, are the same for any number of processes.
    """
    return range(0, count, size)[accelerator.process_index :: accelerator.num_processes]


def chunks(
    images: Tensor, labels: Tensor, size: int, accelerator: Accelerator
) -> Iterator[tuple[int, Tensor, Tensor]]:
    """This process's chunks of a set: first row, images as floats in [0, 1], labels; on the device."""
    device = accelerator.device
    for start in shares(len(labels), size, accelerator):
        rows = slice(start, start + size)
        yield start, as_float(images[rows].to(device)), labels[rows].to(device)


def chunk_results(
    parts: Iterable[tuple[int, Tensor, Tensor]],
    store: Store,
    form: Format[T],
    key: Sequence[Any],
    compute: Callable[[int, Tensor, Tensor], T],
    *,
    complete: Callable[[T, int], bool],
    done: Callable[[int], None] = lambda count: None,
) -> list[T]:
    """The result of ``compute`` on every chunk of all processes, in order; finished ones are read back.

    Args:
        parts: this process's :func:`chunks`.
        store: place of finished results.
        form: file format of a result.
        key: values that decide the results, beside the chunk.
        compute: function of the first row of a chunk, its images and labels.
        complete: whether a result that was read is one of so many images.
        done: function that is told the images of each chunk.
    """
    rows = []
    for start, images, labels in parts:
        count = len(labels)

        def whole(result: T, count: int = count) -> bool:
            return complete(result, count)

        made = partial(compute, start, images, labels)
        rows.append((start, store.get(form, [*key, start], made, valid=whole)))
        done(count)
    return gathered(rows)


def gathered(rows: Iterable[tuple[int, T]]) -> list[T]:
    """The rows of all processes in the order of their first numbers."""
    return [row for _, row in sorted(gather_object(list(rows)), key=lambda pair: pair[0])]


def _update(digest: Any, part: Any) -> None:
    if isinstance(part, Tensor):
        digest.update(repr((part.dtype, tuple(part.shape))).encode())
        digest.update(part.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    elif isinstance(part, list):
        # may hold tensors at any depth
        for each in part:
            _update(digest, each)
    else:
        digest.update(repr(part).encode())
