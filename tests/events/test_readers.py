"""Readers against files written byte by byte; a malformed file is one line that names it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from purespike.errors import InputError
from purespike.events import (
    EVENT,
    as_events,
    read_aedat2,
    read_aedat3,
    read_events,
    read_gesture_labels,
    read_gestures,
    read_nmnist,
)

from .files import aedat2, aedat3, aedat3_packet, nmnist

EVENTS = [(0, 0, 1, 1), (33, 5, 8000, 0), (2, 33, 9000, 1), (7, 7, 20000, 0)]


def written(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content)
    return path


def tuples(events):
    assert events.dtype == EVENT
    return [(int(x), int(y), int(t), int(p)) for x, y, t, p in events.tolist()]


def test_nmnist_with_overflows(tmp_path):
    path = written(tmp_path, "a.bin", nmnist(EVENTS, wraps=(2, 3)))
    assert tuples(read_nmnist(path)) == EVENTS == tuples(read_events(path))


def test_aedat2_in_both_orientations(tmp_path):
    path = written(tmp_path, "a.aedat", aedat2(EVENTS))
    assert tuples(read_aedat2(path)) == EVENTS == tuples(read_events(path))
    assert tuples(read_aedat2(path, transposed=True)) == [(y, x, t, p) for x, y, t, p in EVENTS]


def test_aedat2_leaves_out_external_events_and_unwraps_times(tmp_path):
    late = [(1, 1, 2**32 - 5, 1), (2, 2, 3, 0), (3, 3, 9, 1)]
    found = tuples(read_aedat2(written(tmp_path, "a.aedat", aedat2(late, special=(2,)))))
    assert found == [(1, 1, 2**32 - 5, 1), (2, 2, 2**32 + 3, 0)]


def test_aedat3_packets_of_several_kinds(tmp_path):
    content = aedat3(
        aedat3_packet(EVENTS[:2]),
        aedat3_packet([(1, 1, 1, 1)], kind=0),
        aedat3_packet([]),
        aedat3_packet(EVENTS[2:], overflow=2, invalid=(0,)),
    )
    path = written(tmp_path, "a.aedat", content)
    x, y, t, p = EVENTS[3]
    assert tuples(read_aedat3(path)) == [*EVENTS[:2], (x, y, t + 2 * 2**31, p)] == tuples(read_events(path))


def test_files_without_events(tmp_path):
    # a header says that the recording is whole; nothing says so of an empty file
    for name, content in (("b.aedat", aedat2([])), ("c.aedat", aedat3())):
        assert len(read_events(written(tmp_path, name, content))) == 0


def test_structured_arrays_of_other_types(tmp_path):
    given = np.array(
        [(t, x, y, 2 * p - 1, 9) for x, y, t, p in EVENTS],
        dtype=[("t", ">u4"), ("x", "u2"), ("y", "u1"), ("p", "i1"), ("more", "f4")],
    )
    np.save(tmp_path / "a.npy", given)
    assert tuples(as_events(given)) == EVENTS == tuples(read_events(tmp_path / "a.npy"))


BAD = {
    "bin cut": ("a.bin", nmnist(EVENTS)[:-2], "18 bytes are no whole number of N-MNIST events"),
    "bin off the sensor": ("a.bin", nmnist([(34, 1, 5, 1)]), "event 0 has x = 34, outside a sensor of 34×34"),
    "aedat 2 cut": ("a.aedat", aedat2(EVENTS)[:-3], "29 bytes after the header are no whole number"),
    "aedat 4": ("a.aedat", b"#!AER-DAT4.0\r\nabc", "begins with '#!AER-DAT4.0'; AEDAT 2.0 and 3.1 are read"),
    "aedat without header": ("a.aedat", b"\x00\x01", "begins with"),
    "aedat 3 without end": ("a.aedat", b"#!AER-DAT3.1\r\n#x\r\n", "its header has no line #!END-HEADER"),
    "aedat 3 cut header": ("a.aedat", aedat3(b"\x01\x00\x01"), "3 bytes at byte .* are no packet's header"),
    "aedat 3 cut": ("a.aedat", aedat3(aedat3_packet(EVENTS)[:-1]), "has 4 events of 8 bytes, but only 31"),
    "aedat 3 nonsense": (
        "a.aedat",
        aedat3(aedat3_packet(EVENTS, capacity=2)),
        "says 4 of 2 events of 8 bytes, which cannot be",
    ),
    "npy": ("a.npy", b"no array", "cannot be read as npy"),
    "suffix": ("a.txt", b"1 2 3", "unknown suffix; events are read from .bin, .aedat, .npy"),
}


@pytest.mark.parametrize(("name", "content", "message"), BAD.values(), ids=BAD)
def test_malformed_files(tmp_path, name, content, message):
    path = written(tmp_path, name, content)
    with pytest.raises(InputError, match=message) as caught:
        read_events(path)
    assert str(caught.value).startswith(str(path)) and "\n" not in str(caught.value)


@settings(max_examples=150, deadline=None)
@given(content=st.binary(max_size=80), kind=st.sampled_from(["bin", "aedat2", "aedat3", "npy"]))
def test_no_bytes_end_in_a_traceback(content, kind, tmp_path_factory):
    heads = {"aedat2": b"#!AER-DAT2.0\n", "aedat3": aedat3(), "npy": b"\x93NUMPY\x01\x00"}
    path = tmp_path_factory.mktemp("bytes") / f"a.{'aedat' if 'aedat' in kind else kind}"
    path.write_bytes(heads.get(kind, b"") + content)
    try:
        assert read_events(path).dtype == EVENT
    except InputError as error:
        assert "\n" not in str(error)


def test_malformed_arrays():
    columns = np.zeros((3, 4), np.int64)
    with pytest.raises(InputError, match=r"structured array .*unstructured_to_structured"):
        as_events(columns)
    with pytest.raises(InputError, match="no field p"):
        as_events(np.zeros(2, [("x", "i2"), ("y", "i2"), ("t", "i8")]))
    for field, kind, value, message in (
        ("x", "i4", 40000, "x must lie in 0 to 32767"),
        ("t", "i8", -1, "t must lie in 0"),
        ("t", "f8", 1, "t must be whole numbers"),
        ("p", "i1", 3, "p must be true or false"),
        ("t", "u8", 2**63, "too large"),
    ):
        kinds = {"x": "i2", "y": "i2", "t": "i8", "p": "?"} | {field: kind}
        array = np.zeros(1, list(kinds.items()))
        array[field] = value
        with pytest.raises(InputError, match=message):
            as_events(array, name="mine")


def test_gestures_are_cut_by_their_labels(tmp_path):
    events = [(1, 1, t, 1) for t in (5, 10, 15, 20, 30)]
    path = written(tmp_path, "user.aedat", aedat3(aedat3_packet(events)))
    (tmp_path / "user_labels.csv").write_text("class,startTime_usec,endTime_usec\n3,10,19\n11,20,40\n\n")
    assert [(tuples(part), label) for part, label in read_gestures(path)] == [
        ([(1, 1, 0, 1), (1, 1, 5, 1)], 2),
        ([(1, 1, 0, 1), (1, 1, 10, 1)], 10),
    ]
    (tmp_path / "user_labels.csv").write_text("class,start,end\n1,31,39\n")
    with pytest.raises(InputError, match="no event between 31 and 39"):
        read_gestures(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("class\n", "lists no gestures"),
        ("class\n1,2\n", "line 2: must be class,start,end"),
        ("class\n1,2,3\n12,2,3\n", "line 3: needs a class from 1 to 11"),
        ("class\n1,3,3\n", "start < end"),
    ],
)
def test_malformed_labels(tmp_path, text, message):
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(InputError, match=message):
        read_gesture_labels(tmp_path / "a.csv")
