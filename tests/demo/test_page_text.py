"""What docs/demo.md shows works: its example, its pictures, its claims about numbers."""

import re
from pathlib import Path

import pytest
from PIL import Image

from purespike.smoothing import Smoothing

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "demo.md").read_text(encoding="utf-8")


def test_the_example_runs(monkeypatch, capsys):
    (example,) = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    monkeypatch.chdir(ROOT)
    exec(example, {})
    lines = capsys.readouterr().out.splitlines()
    # three clean images, then each model's start, steps and end, of which broken ones have fewer
    assert [line for line in lines if " clean 0 " in line] == lines[:3]
    assert [line.split(" end ")[0] for line in lines if " end " in line] == [
        "bare classifier",
        "paper",
        "holding",
    ]
    assert all(line.endswith(" spikes") for line in lines)


def test_the_pictures_are_there_small_and_of_both_widths():
    pictures = {name: ROOT / "docs" / name for name in re.findall(r"pictures/[\w-]+\.png", TEXT)}
    widths = set()
    for path in pictures.values():
        assert path.stat().st_size < 150_000
        with Image.open(path) as picture:
            widths.add(picture.width)
    assert widths == {1280, 390}


def test_what_few_draws_can_prove():
    assert Smoothing(sigma=1.0, n=200, alpha=0.001).largest_radius == pytest.approx(1.8, abs=0.05)
