"""Events in memory: one structured NumPy array for each recording."""

from typing import Any

import numpy as np

from purespike.errors import InputError, kind_of

EVENT = np.dtype([("x", "<i2"), ("y", "<i2"), ("t", "<i8"), ("p", "?")])
"""An event: column, row from the top, time in µs, and polarity, true for ON (brighter)."""

Events = np.ndarray[Any, Any]
"""Events of one recording, ``[E]`` of :data:`EVENT`, in any order of time unless stated otherwise."""

# the largest coordinate that an event holds
MOST = 2**15 - 1
# fifty days: times a number of frames below 2**20 it is still a whole number of 64 bits
LATEST = 2**42


def as_events(array: Any, *, name: str = "events") -> Events:
    """``array`` in the type :data:`EVENT`, a copy.

    Args:
        array: structured array ``[E]`` with fields ``x``, ``y``, ``t`` (µs) and ``p`` of any integer type, in
            any order; further fields are dropped. ``p`` may be bool, 0 and 1, or -1 and 1.
        name: name of the recording in messages.

    Raises:
        InputError: another form, a coordinate or time that is negative or too large, or another polarity.

    Example:
        >>> given = np.array([(5, 1, 0, -1)], dtype=[("t", "u4"), ("x", "u2"), ("y", "u2"), ("p", "i1")])
        >>> as_events(given)
        array([(1, 0, 5, False)],
              dtype=[('x', '<i2'), ('y', '<i2'), ('t', '<i8'), ('p', '?')])
    """
    fields = getattr(getattr(array, "dtype", None), "names", None)
    if fields is None or array.ndim != 1:
        raise InputError(
            f"{name}: must be a structured array [E] with fields x, y, t, p, got {kind_of(array)}; columns "
            "[E, 4] become one with numpy.lib.recfunctions.unstructured_to_structured"
        )
    if missing := [field for field in EVENT.names or () if field not in fields]:
        raise InputError(f"{name}: no field {' and '.join(missing)} (found: {', '.join(fields)})")
    columns = {field: _whole(array[field], f"{name}: {field}") for field in EVENT.names or ()}
    for field in ("x", "y", "t"):
        column, limit = columns[field], MOST if field != "t" else LATEST
        if len(column) and (column.min() < 0 or column.max() > limit):
            raise InputError(
                f"{name}: {field} must lie in 0 to {limit}, found {column.min()} to {column.max()}"
            )
    polarity = columns["p"]
    if not set(np.unique(polarity).tolist()) <= {-1, 0, 1}:
        raise InputError(
            f"{name}: p must be true or false, 0 or 1, or -1 or 1, found {polarity.min()} to {polarity.max()}"
        )
    events = np.empty(len(array), EVENT)
    for field, column in columns.items():
        events[field] = column > 0 if field == "p" else column
    return events


def _whole(column: Any, name: str) -> Any:
    if column.ndim != 1 or column.dtype.kind not in "iub":
        raise InputError(f"{name} must be whole numbers, one for each event, got {kind_of(column)}")
    if column.dtype.kind == "u" and len(column) and int(column.max()) >= 2**63:
        raise InputError(f"{name} is too large: {column.max()}")
    return column.astype(np.int64)


def check_sensor(events: Events, *, height: int, width: int, name: str = "events") -> Events:
    """``events`` unchanged if all lie on a sensor of this size.

    Raises:
        InputError: one does not; the message says where it lies.
    """
    for field, size in (("x", width), ("y", height)):
        column = events[field]
        if len(column) and (column.max() >= size or column.min() < 0):
            place = int(np.argmax((column >= size) | (column < 0)))
            raise InputError(
                f"{name}: event {place} has {field} = {column[place]}, outside a sensor of {height}×{width}"
            )
    return events
