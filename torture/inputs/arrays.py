"""Arrays of images: other types and shapes, damaged archives, pickles, and sizes that a header claims."""

import io
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from torture.inputs.made import Input, Oracle, flipped, truncated
from torture.scenes import Desk

X = np.random.default_rng(0).integers(0, 256, (20, 32, 32, 3), dtype=np.uint8)
Y = np.arange(20) % 10
Arrays = dict[str, Any]
CHANGES: dict[str, tuple[Oracle, Arrays]] = {
    "untouched": ("good", {}),
    "floats": ("bad", {"x": X / 255}),
    "signed": ("bad", {"x": X.astype(np.int16)}),
    "complex": ("bad", {"x": X.astype(complex)}),
    "objects": ("bad", {"x": np.array([{"a": 1}] * 20)}),
    "texts": ("bad", {"x": np.array(["a"] * 20)}),
    "dates": ("bad", {"y": Y.astype("datetime64[s]")}),
    "channels first": ("bad", {"x": X.transpose(0, 3, 1, 2)}),
    "flat": ("bad", {"x": X.reshape(20, -1)}),
    "scalar": ("bad", {"x": np.uint8(3)}),
    "nothing": ("bad", {"x": X[:0], "y": Y[:0]}),
    "no pixels": ("bad", {"x": X[:, :0]}),
    "five axes": ("bad", {"x": X[None]}),
    "two channels": ("bad", {"x": X[..., :2]}),
    "grey": ("bad", {"x": X[..., 0]}),
    "one pixel": ("may pass", {"x": X[:, :1, :1]}),
    "float labels": ("bad", {"y": Y / 2}),
    "NaN labels": ("bad", {"y": np.full(20, np.nan)}),
    "negative labels": ("bad", {"y": Y - 1}),
    "high labels": ("bad", {"y": Y + 5}),
    "huge labels": ("bad", {"y": Y.astype(np.uint64) + np.uint64(2**64 - 20)}),
    "one-hot labels": ("bad", {"y": np.eye(10, dtype=int)[Y]}),
    "few labels": ("bad", {"y": Y[:7]}),
    "truth values": ("bad", {"y": Y > 4}),
    "class names of numbers": ("bad", {"class_names": np.arange(10)}),
    "few class names": ("bad", {"class_names": np.array(["a", "b"])}),
    "class names twice": ("may pass", {"class_names": np.array(["a"] * 10)}),
    "empty class names": ("may pass", {"class_names": np.array([""] * 10)}),
    "structured": ("bad", {"y": np.zeros(20, dtype=[("a", int)])}),
    "big-endian": ("may pass", {"y": Y.astype(">i4")}),
}


def generate() -> Iterator[Input]:
    """Every pair of archives, before an evaluation of the finished run."""
    for name, (oracle, change) in CHANGES.items():
        yield Input(name, oracle, partial(_changed, change))
    for key in ("x", "y"):
        yield Input(f"without {key}", "bad", partial(_without, key))
    for _ in range(6):
        yield Input("truncated", "bad", partial(_damaged, truncated))
        yield Input("flipped", "may pass", partial(_damaged, flipped))
    for kind in (
        "huge claim",
        "negative claim",
        "deep claim",
        "code",
        "bomb",
        "npy",
        "idx",
        "idx claim",
        "text",
        "folder",
    ):
        yield Input(f"file: {kind}", "bad", partial(_file, kind))
    yield Input("missing", "bad", lambda folder, desk, draw: _line(desk))


def _line(desk: Desk) -> list[object]:
    settings = "--images 4 --attacks fgsm --eps 8/255 --diagnose 0 --threat undefended --device cpu"
    return ["evaluate", desk.run, "--data", "npz:set", *settings.split(" ")]


def _save(folder: Path, arrays: Arrays) -> Path:
    np.savez(folder / "set-train.npz", x=X, y=Y)
    # objects become pickles, which are not read
    np.savez(folder / "set-test.npz", **arrays)
    return folder / "set-test.npz"


def _changed(change: Arrays, folder: Path, desk: Desk, _draw: Random) -> list[object]:
    _save(folder, {"x": X, "y": Y, **change})
    return _line(desk)


def _without(key: str, folder: Path, desk: Desk, _draw: Random) -> list[object]:
    _save(folder, {name: value for name, value in (("x", X), ("y", Y)) if name != key})
    return _line(desk)


def _damaged(
    damage: Callable[[bytes, Random], bytes], folder: Path, desk: Desk, draw: Random
) -> list[object]:
    path = _save(folder, {"x": X, "y": Y})
    path.write_bytes(damage(path.read_bytes(), draw))
    return _line(desk)


def _header(shape: str, kind: str = "|u1") -> bytes:
    text = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}".encode()
    text += b" " * (-(len(text) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


def _file(kind: str, folder: Path, desk: Desk, _draw: Random) -> list[object]:
    path = _save(folder, {"x": X, "y": Y})
    buffer = io.BytesIO()
    if kind == "npy":
        np.save(buffer, X)
    members = {
        "huge claim": _header("(1000000000000, 32, 32, 3)"),
        "negative claim": _header("(-5, 32, 32, 3)"),
        "deep claim": _header("(" * 300 + "1" + ")" * 300),
        "code": _header("__import__('os').abort()"),
        "bomb": _header("(100000, 32, 32, 3)") + bytes(100_000 * 32 * 32 * 3),
    }
    texts = {
        "npy": buffer.getvalue(),
        "idx": b"\x00\x00\x08\x03"
        + (20).to_bytes(4, "big")
        + (28).to_bytes(4, "big") * 2
        + bytes(20 * 28 * 28),
        "idx claim": b"\x00\x00\x08\x03" + b"\xff" * 12,
        "text": b"x,y\n1,2\n",
    }
    if kind in members:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("x.npy", members[kind])
            archive.writestr("y.npy", _header("(20,)") + bytes(20))
    elif kind == "folder":
        path.unlink()
        path.mkdir()
    else:
        path.write_bytes(texts[kind])
    return _line(desk)
