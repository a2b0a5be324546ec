"""Foreign bytes are read, or refused in one line that names them, whatever a parser does with them."""

import json
import os

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import save_file

from purespike.data.opening import open_image
from purespike.errors import InputError
from purespike.reading import (
    MEBIBYTE,
    brief,
    check_unpacked,
    parse_json,
    read_npz,
    read_text,
    reading,
    regular_file,
)
from purespike.results import Evaluation, read_card, read_history
from purespike.tensors import read_tensors


@pytest.mark.parametrize(
    "error",
    [ValueError("a\n b"), RecursionError(), MemoryError(), KeyError("x"), SystemError("deep")],
    ids=repr,
)
def test_any_error_of_a_parser_is_one_line(error):
    with (
        pytest.raises(InputError, match=r"^here: not a thing \(.+\); copy it$") as caught,
        reading("here", "not a thing", remedy="copy it"),
    ):
        raise error
    assert "\n" not in str(caught.value) and caught.value.__cause__ is error


def test_messages_of_our_own_and_interrupts_stay():
    for error in (InputError("says it all"), KeyboardInterrupt()):
        with pytest.raises(type(error)) as caught, reading("here", "not a thing"):
            raise error
        assert caught.value is error


@given(st.text(max_size=400))
def test_a_brief_message_is_one_line_and_never_empty(text):
    assert 0 < len(brief(ValueError(text))) <= 201
    assert len(brief(ValueError(text)).splitlines()) == 1


def test_only_regular_files_are_read(tmp_path):
    path = tmp_path / "file"
    for make, message in (
        (lambda: None, "no such card; write one"),
        (lambda: path.mkdir(), "is a folder, not a card"),
        (lambda: os.mkfifo(path), "is a pipe or a device, not a card"),
        (lambda: path.symlink_to(tmp_path / "nowhere"), "link to nothing"),
        (lambda: path.symlink_to("/dev/zero"), "is a pipe or a device"),
        (lambda: path.write_bytes(bytes(2049)), "has 2 KB; the limit of a card is 2 KB"),
    ):
        make()
        with pytest.raises(InputError, match=message):
            regular_file(path, limit=2048, kind="card", hint="; write one")
        if path.is_dir():
            path.rmdir()
        else:
            path.unlink(missing_ok=True)
    path.write_bytes(bytes(2048))
    assert regular_file(path, limit=2048) == path


@pytest.mark.parametrize(
    ("packed", "unpacked", "fits"),
    [
        (0, 64 * MEBIBYTE, True),
        (0, 64 * MEBIBYTE + 1, False),
        (MEBIBYTE, 100 * MEBIBYTE, True),
        (MEBIBYTE, 100 * MEBIBYTE + 1, False),
    ],
)
def test_content_is_in_proportion_to_its_file(packed, unpacked, fits):
    if fits:
        check_unpacked("file", packed=packed, unpacked=unpacked)
    else:
        with pytest.raises(InputError, match="file: would unpack from"):
            check_unpacked("file", packed=packed, unpacked=unpacked)


@pytest.mark.parametrize(
    "text",
    ["", "{", "[" * 100_000, "9" * 5000, '["\\ud800"]', '{"\\uDFFF": 1}', "\x00"],
    ids=lambda text: text[:8],
)
def test_json_that_is_none(text):
    with pytest.raises(InputError, match=r"^card: (not JSON|holds a text)") as caught:
        parse_json(text, "card")
    assert len(str(caught.value)) < 300


def test_json_that_is_some():
    for value in ({"a": [1, None, "ü", "\U0001f600"]}, [], "\\ud800 is no escape here", 5):
        assert parse_json(json.dumps(value), "card") == value


READERS = {
    "text": read_text,
    "history": read_history,
    "evaluation": Evaluation.read,
    "card": read_card,
    "npz": read_npz,
    "tensors": read_tensors,
    "image": lambda path: open_image(path, str(path)),
}


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    folder = tmp_path_factory.mktemp("good")
    pixels = np.arange(108, dtype=np.uint8).reshape(6, 6, 3)
    for suffix in ("png", "jpg", "bmp", "tiff", "webp"):
        Image.fromarray(pixels).save(folder / f"a.{suffix}")
    np.savez_compressed(folder / "a.npz", x=pixels)
    save_file({"weight": torch.arange(6.0)}, folder / "a.safetensors", {"format": "pt"})
    (folder / "a.json").write_text('{"name": "a", "clean_acc": "90.00", "dataset": "digits"}')
    (folder / "a.jsonl").write_text('{"stage": "classifier", "epoch": 1}\n')
    return [path.read_bytes() for path in sorted(folder.iterdir())]


@pytest.mark.parametrize("reader", READERS)
def test_damaged_files_are_read_or_refused_in_one_line(reader, good, tmp_path):
    """Every reader gets every kind of file, cut and flipped all over."""
    draw = np.random.default_rng(0)
    path = tmp_path / "file"
    tried = refused = 0
    for content in good:
        for _ in range(12):
            damaged = bytearray(content[: draw.integers(len(content)) + 1])
            for place in draw.integers(len(damaged), size=3):
                damaged[place] = draw.integers(256)
            path.write_bytes(damaged)
            tried += 1
            try:
                READERS[reader](path)
            except InputError as error:
                refused += 1
                assert str(path) in str(error) and len(str(error).splitlines()) == 1 and len(str(error)) < 600
    assert refused > tried / 2
