"""Outcomes per image agree with plain loops over an evaluation, and read back as they were."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from purespike.errors import InputError
from purespike.results import Evaluation, Score, read_outcomes, write_outcomes

from .made import END_TO_END, N, made, robust


def test_outcomes_come_back(tmp_path: Path) -> None:
    content = made()
    write_outcomes(Evaluation.from_json(content), tmp_path / "outcomes.npz")
    found = read_outcomes(tmp_path / "outcomes.npz")
    assert found.pop("labels").tolist() == content["labels"]
    for name in ("undefended", "defended"):
        assert found.pop(f"clean_{name}").tolist() == [bit == 1 for bit in content["clean_outcomes"][name]]
    for cell in content["cells"]:
        bound = {None: {"noise": "noise-0.1", "l2": "l2-unbounded"}.get(cell["norm"])}.get(
            cell["eps"], f"linf-{round(255 * (cell['eps'] or 0))}_255"
        )
        steps = {"pgd": "-20", "cw": "-100", "autoattack": "-100"}.get(cell["attack"], "")
        stored = found.pop(f"cell/{cell['threat']}/{bound}/{cell['attack']}{steps}")
        assert stored.dtype == np.bool_ and stored.tolist() == [bit == 1 for bit in cell["outcomes"]]
    for eps in (8, 16):
        for threat in ("undefended", *END_TO_END):
            wanted = robust(content, eps / 255, (threat,))
            assert found.pop(f"worst/{threat}/linf-{eps}_255").tolist() == wanted
        assert found.pop(f"worst/whole/linf-{eps}_255").tolist() == robust(content, eps / 255, END_TO_END)
    assert not found


def test_cells_of_one_name_are_all_kept(tmp_path: Path) -> None:
    content = made()
    none = {"outcomes": [0] * N, "score": Score.of([0] * N).to_json()}
    twin = {**content["cells"][1], **none, "settings": {"steps": 20}}
    del content["labels"]
    content["cells"].append(twin)
    write_outcomes(Evaluation.from_json(content), tmp_path / "outcomes.npz")
    found = read_outcomes(tmp_path / "outcomes.npz")
    first = "cell/undefended/linf-8_255/pgd-20"
    assert found[first].any() and not found[f"{first}~2"].any()
    assert not found["worst/undefended/linf-8_255"].any()
    assert "labels" not in found


def test_writing_is_atomic(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "outcomes.npz"
    write_outcomes(Evaluation.from_json(made()), path)
    before = path.read_bytes()

    def full(*_: Any, **__: Any) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(np, "savez_compressed", full)
    with pytest.raises(OSError, match="no space"):
        write_outcomes(Evaluation.from_json(made()), path)
    assert path.read_bytes() == before and [item.name for item in tmp_path.iterdir()] == ["outcomes.npz"]


def test_labels_must_fit(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="one for each of 40 images"):
        write_outcomes(Evaluation.from_json(made() | {"labels": [1, 2]}), tmp_path / "outcomes.npz")


def test_outcomes_must_be_whole(tmp_path: Path) -> None:
    content = made()
    content["cells"][2]["outcomes"] = []
    with pytest.raises(InputError, match="outcomes for 0 of 40 images"):
        write_outcomes(Evaluation.from_json(content), tmp_path / "outcomes.npz")


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        (None, "no such file"),
        (b"PK\x03\x04 half", "cannot be read as npz"),
        ({}, "holds no outcomes"),
        ({"a": np.ones(3, bool), "b": np.ones(4, bool)}, r"b: expected bool \[3\], got bool \[4\]"),
        ({"a": np.ones(3)}, "a: expected bool"),
        ({"a": np.array([None, 1], dtype=object)}, "cannot be read as npz"),
    ],
)
def test_damaged_outcomes_are_one_line(tmp_path: Path, arrays: Any, message: str) -> None:
    path = tmp_path / "outcomes.npz"
    if isinstance(arrays, bytes):
        path.write_bytes(arrays)
    elif arrays is not None:
        np.savez(path, **arrays)
    with pytest.raises(InputError, match=message) as caught:
        read_outcomes(path)
    assert "\n" not in str(caught.value)
