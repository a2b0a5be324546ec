"""Progress in a pipe: a line when work begins, and lines while it lasts, also within one unit."""

import io
import time

import pytest
from rich.console import Console

from purespike import progress


@pytest.fixture
def heard(monkeypatch):
    stream = io.StringIO()
    monkeypatch.setattr(progress, "console", Console(file=stream, highlight=False, width=200))
    return stream


def test_work_announces_itself_and_speaks_while_it_lasts(heard, monkeypatch):
    monkeypatch.setattr(progress, "INTERVAL", 0.01)
    with progress.bar("training", 1000, done=200) as bar:
        assert heard.getvalue() == "training: 1,000 images, 200 of them done before\n"
        until = time.monotonic() + 10
        while "time left unknown yet" not in heard.getvalue() and time.monotonic() < until:
            time.sleep(0.005)
        bar.advance(300, "epoch {} loss {:.1f}", 2, 0.25)
        while "epoch 2 loss 0.2" not in heard.getvalue() and time.monotonic() < until:
            time.sleep(0.005)
        bar.begin("examination", 17, unit="rules")
    lines = heard.getvalue().splitlines()
    assert any(line.startswith("training: 500 of 1,000 images, about ") for line in lines)
    assert "examination: 17 rules" in lines


def test_the_first_pieces_say_nothing_about_the_rest(heard):
    with progress.bar("evaluation", 10_000, unit="passes") as bar:
        bar.advance(99)
        assert bar.line() == "evaluation: 99 of 10,000 passes, time left unknown yet"
        bar.advance(1)
        assert bar.line().startswith("evaluation: 100 of 10,000 passes, about ")


def test_a_bound_is_called_one(heard):
    with progress.bar("evaluation", 10, unit="passes", at_most=True) as bar:
        bar.advance(5)
        assert bar.line().startswith("evaluation: 5 of 10 passes, at most ")
        bar.begin("examination", 1, unit="passes")
    assert heard.getvalue() == "evaluation: at most 10 passes\nexamination: at most 1 pass\n"


def test_a_bound_is_not_exceeded(heard):
    with progress.bar("evaluation", 10, unit="passes", at_most=True) as bar:
        bar.advance(8)
        bar.advance(8)
        assert bar.line().startswith("evaluation: 10 of 10 passes")


@pytest.mark.parametrize("unit", ["file", "image", "pass"])
def test_one_unit_is_called_one(heard, unit):
    with progress.bar("purifying", 1, unit=f"{unit}es" if unit == "pass" else f"{unit}s") as bar:
        line = bar.line()
    assert heard.getvalue() == f"purifying: 1 {unit}\n"
    assert line.startswith(f"purifying: 0 of 1 {unit}, ")


def test_other_processes_are_silent(heard):
    with progress.bar("training", 10, show=False) as bar:
        bar.advance(10, "done")
        bar.begin("more", 2, unit="rules")
        bar.say("a line")
    assert heard.getvalue() == ""


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "1 s"), (89, "89 s"), (600, "10 min"), (12_000, "3 h 20 min"), (367_200, "4 days 6 h")],
)
def test_durations(seconds, text):
    assert progress.duration(seconds) == text


def test_inside_quiet_nothing_is_shown(monkeypatch):
    shown = io.StringIO()
    monkeypatch.setattr(progress, "console", Console(file=shown, force_terminal=False))
    with progress.quiet(), progress.bar("work", 3) as bar:
        bar.say("a line")
        bar.advance(3)
    assert shown.getvalue() == ""
    with progress.bar("work", 3):
        pass
    assert "work" in shown.getvalue()
