"""Readers of event files: N-MNIST, AEDAT 2.0, AEDAT 3.1 and NumPy; each gives one structured array."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from purespike.errors import InputError
from purespike.events.formats import EVENT, Events, as_events, check_sensor
from purespike.reading import MEBIBYTE, reading, regular_file

NMNIST_SIDE, DVS128_SIDE = 34, 128
LARGEST = 2048 * MEBIBYTE
"""Largest event file: more would not fit into a small machine's memory as an array."""


def read_nmnist(path: str | Path) -> Events:
    """Events of an N-MNIST or N-Caltech101 ``.bin`` file (Orchard et al. 2015), five bytes each.

    The bytes hold x; y; and from the highest bit on the polarity, then 23 bits of time in µs. A row of 240 is
    no event: all times after it are 2¹³ µs later.

    Raises:
        InputError: missing, not a multiple of five bytes, or an event outside the 34×34 pixels of N-MNIST.
    """
    raw = _bytes(path)
    if not len(raw):
        raise InputError(f"{path}: is empty; copy it again")
    if len(raw) % 5:
        raise InputError(
            f"{path}: {len(raw)} bytes are no whole number of N-MNIST events (5 bytes each); truncated, or "
            "another format"
        )
    x, y, high, middle, low = raw.reshape(-1, 5).astype(np.int64).T
    overflow = y == 240
    time = ((high & 127) << 16 | middle << 8 | low) + (np.cumsum(overflow) << 13)
    kept = ~overflow
    events = _made(x[kept], y[kept], time[kept], (high >> 7)[kept])
    return check_sensor(events, height=NMNIST_SIDE, width=NMNIST_SIDE, name=str(path))


def read_aedat2(path: str | Path, *, transposed: bool = False) -> Events:
    """Events of an AEDAT 2.0 file of a DVS128 camera, e.g. CIFAR10-DVS or MNIST-DVS.

    After a header of lines that begin with ``#``, each event has eight bytes, big-endian: an address and a
    time in µs. As jAER has it, bits 1 to 7 of the address are the column from the right, bits 8 to 14 the row
    from the bottom, and bit 0 is 0 for ON. Bit 15 marks external signals, which are left out.

    Args:
        path: path of the file.
        transposed: whether the camera lay on its side, as for CIFAR10-DVS: rows and columns are exchanged.

    Raises:
        InputError: missing, no such header, or not a multiple of eight bytes after it.
    """
    raw, start = _bytes(path), _header(path, b"#!AER-DAT2")
    words = _records(raw[start:], 8, path, "AEDAT 2.0").view(">u4").astype(np.int64).reshape(-1, 2)
    words = words[(words[:, 0] >> 15 & 1) == 0]
    address, time = words.T
    last = DVS128_SIDE - 1
    column, row = last - (address >> 1 & 127), last - (address >> 8 & 127)
    x, y = (row, column) if transposed else (column, row)
    return _made(x, y, _unwrapped(time), 1 - (address & 1))


def read_aedat3(path: str | Path) -> Events:
    """Events of an AEDAT 3.1 file, e.g. of the DVS128 gestures (Amir et al. 2017).

    After a header that ends with ``#!END-HEADER`` come packets: 28 bytes, little-endian, which name the type
    of its events, their size and number, then these. A polarity event (type 1) has two words of 32 bits: from
    the lowest bit on valid, polarity, 15 bits of y and 15 of x; and a time in µs, to which the packet's
    number of overflows adds 2³¹ each. Packets of other types and invalid events are left out.

    Raises:
        InputError: missing, no such header, a packet that is cut off or says what cannot be.
    """
    raw, start = _bytes(path), _header(path, b"#!AER-DAT3.1", end=b"#!END-HEADER")
    parts: list[Events] = [np.empty(0, EVENT)]
    while start < len(raw):
        head = raw[start : start + 28]
        if len(head) < 28:
            raise InputError(f"{path}: truncated: {len(head)} bytes at byte {start} are no packet's header")
        kind = int(head[:2].view("<i2")[0])
        size, place, overflow, capacity, number = (int(word) for word in head[4:24].view("<i4"))
        body = start + 28
        start = body + max(number, 0) * max(size, 0)
        if size < 8 or not 0 <= number <= capacity or not 0 <= place <= size - 4 or overflow < 0:
            raise InputError(
                f"{path}: the packet at byte {body - 28} says {number} of {capacity} events of {size} bytes, "
                "which cannot be; damaged, or another format"
            )
        if start > len(raw):
            raise InputError(
                f"{path}: truncated: the packet at byte {body - 28} has {number} events of {size} bytes, but "
                f"only {len(raw) - body} bytes follow"
            )
        if kind == 1 and number:
            parts.append(_polarity(raw[body:start].reshape(number, size), place, overflow))
    return np.concatenate(parts)


def _polarity(records: np.ndarray, place: int, overflow: int) -> Events:
    """Valid polarity events of a packet, whose times begin at byte ``place`` of each."""
    data = np.ascontiguousarray(records[:, :4]).view("<u4").astype(np.int64).squeeze(1)
    time = np.ascontiguousarray(records[:, place : place + 4]).view("<i4").astype(np.int64).squeeze(1)
    valid = (data & 1) == 1
    data, time = data[valid], time[valid] + (overflow << 31)
    return _made(data >> 17 & 0x7FFF, data >> 2 & 0x7FFF, time, data >> 1 & 1)


def read_numpy(path: str | Path) -> Events:
    """Events of a ``.npy`` file with a structured array, as tonic and others write it; see :func:`as_events`.

    Raises:
        InputError: missing, damaged, with pickles, or not such an array.
    """
    regular_file(path, limit=LARGEST)
    with reading(path, "cannot be read as npy, truncated or not a plain array"):
        array = np.load(path, allow_pickle=False)
    return as_events(array, name=str(path))


def read_aedat(path: str | Path) -> Events:
    """Events of an AEDAT file, whose first line says whether it is 2.0 or 3.1.

    Raises:
        InputError: as :func:`read_aedat2` and :func:`read_aedat3`, or another version.
    """
    with open(regular_file(path, limit=LARGEST), "rb") as file:
        first = file.read(16)
    if first.startswith(b"#!AER-DAT2"):
        return read_aedat2(path)
    if first.startswith(b"#!AER-DAT3"):
        return read_aedat3(path)
    said = first.split(b"\n")[0].decode("latin-1").strip()
    raise InputError(f"{path}: begins with {said!r}; AEDAT 2.0 and 3.1 are read, convert others to .npy")


READERS: dict[str, Callable[[str | Path], Events]] = {
    ".bin": read_nmnist,
    ".aedat": read_aedat,
    ".npy": read_numpy,
}
"""Readers by suffix."""

SENSORS = {".bin": NMNIST_SIDE, ".aedat": DVS128_SIDE}
"""Height and width of the sensor by suffix, where the format has one."""


def read_events(path: str | Path) -> Events:
    """Events of a file in the format that its suffix names: ``.bin``, ``.aedat`` or ``.npy``.

    Raises:
        InputError: another suffix, or a malformed file.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in READERS:
        raise InputError(f"{path}: unknown suffix; events are read from {', '.join(READERS)}")
    return READERS[suffix](path)


def _bytes(path: str | Path) -> np.ndarray:
    regular_file(path, limit=LARGEST, kind="event file")
    with reading(path, "cannot be read"):
        return np.fromfile(path, np.uint8)


def _header(path: str | Path, version: bytes, *, end: bytes = b"") -> int:
    """Number of bytes of a header of lines that begin with ``#``; it may name its ``end``.

    Raises:
        InputError: another first line, or no end.
    """
    with open(path, "rb") as file:
        line = file.readline(4096)
        if not line.startswith(version):
            said = line[:24].decode("latin-1").strip()
            raise InputError(f"{path}: does not begin with {version.decode()}, but {said!r}")
        while line.startswith(b"#"):
            length = file.tell()
            if end and line.startswith(end):
                return length
            line = file.readline(4096)
    if end:
        raise InputError(f"{path}: its header has no line {end.decode()}; truncated, or another format")
    return length


def _records(raw: np.ndarray, size: int, path: str | Path, kind: str) -> np.ndarray:
    if len(raw) % size:
        raise InputError(
            f"{path}: {len(raw)} bytes after the header are no whole number of {kind} events ({size} bytes "
            "each); truncated, or another format"
        )
    return np.ascontiguousarray(raw)


def _unwrapped(time: np.ndarray) -> np.ndarray:
    """Times of 32 bits that began again at 0, made to go on."""
    falls = np.diff(time, prepend=time[:1]) < -(2**31)
    return time + (np.cumsum(falls) << 32)


def _made(x: np.ndarray, y: np.ndarray, t: np.ndarray, p: np.ndarray) -> Events:
    events = np.empty(len(x), EVENT)
    for field, column in (("x", x), ("y", y), ("t", t), ("p", p.astype(bool))):
        events[field] = column
    return events
