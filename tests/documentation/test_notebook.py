"""The notebooks of ``examples/`` are executed, small, and run from top to bottom."""

import json
import re
import sys
from pathlib import Path

import matplotlib
import pytest

from .pages import ROOT

sys.path.insert(0, str(ROOT))

from docsite.notebook import page

NOTEBOOKS = sorted((ROOT / "examples").glob("*.ipynb"))


def cells(path, kind):
    return [
        cell for cell in json.loads(path.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == kind
    ]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_is_executed_and_small(path):
    text = path.read_text(encoding="utf-8")
    assert path.stat().st_size < 200_000
    code = cells(path, "code")
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    assert all(cell["outputs"] for cell in code)
    assert {output["output_type"] for cell in code for output in cell["outputs"]} <= {
        "stream",
        "display_data",
    }
    assert not re.search(r"/(tmp|home|root|work|usr)/|Traceback|Warning", text)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_runs_and_says_what_it_said(path, monkeypatch, capsys):
    # fewer steps and images: what depends on neither must be as committed; `make notebook` runs it in full
    matplotlib.use("Agg")
    monkeypatch.chdir(ROOT)
    namespace = {}
    for number, cell in enumerate(cells(path, "code")):
        source = "".join(cell["source"])
        for long, short in {
            '"steps": 20': '"steps": 1',
            "pgd:steps=20": "pgd:steps=1",
            "images=16, max_cost=20": "images=4, max_cost=1",
        }.items():
            source = source.replace(long, short)
        exec(compile(source, f"{path.name}, cell {number}", "exec"), namespace)
        printed = capsys.readouterr().out
        if number == 0:
            assert printed == "".join("".join(output["text"]) for output in cell["outputs"])
    assert namespace["evaluation"].cells


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_as_a_page_it_has_its_pictures(path):
    text, pictures = page(path)
    assert all(f"]({name})" in text and content.startswith(b"\x89PNG") for name, content in pictures.items())
    assert pictures and "```python" in text and "```text" in text


def test_there_is_one():
    assert Path(ROOT / "examples" / "purespike.ipynb") in NOTEBOOKS
