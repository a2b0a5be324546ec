"""A sample of ``make torture``, and the judges that it relies on."""

import importlib
import json
from functools import partial

import pytest

from torture import names
from torture.__main__ import PARTS
from torture.hooks import disk_full_at, killed_at
from torture.inputs import FAMILIES, made
from torture.process import Ended, call
from torture.report import Broken, Figures, Row, finished, markdown, publish, show
from torture.scenes import Desk, differences
from torture.work import Case, Outcome, Settings, work

SMALL = Settings(seed=0, scale="small")


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    return Desk(tmp_path_factory.mktemp("desk"))


@pytest.mark.parametrize(
    "part", [*PARTS[:2], *(pytest.param(each, marks=pytest.mark.slow) for each in PARTS[2:])]
)
def test_a_sample_of_every_part_holds(desk, part):
    module = importlib.import_module(f"torture.{part}")
    figures = work(module.TITLE, module.cases(SMALL), desk, SMALL)
    assert not figures.broken
    assert sum(row.tried for row in figures.rows) >= 3


def test_the_full_scale_is_large_enough():
    full = Settings(seed=0, scale="full")
    count = {part: list(importlib.import_module(f"torture.{part}").cases(full)) for part in PARTS}
    kills = [case for case in count["kills"] if "/SIGKILL/" in case.name]
    assert 6 * len(kills) >= 100 and len(count["inputs"]) >= 300
    for cases in count.values():
        # a name repeats a case
        assert len({case.name for case in cases}) == len(cases)
    assert {case.row for case in count["inputs"]} == set(FAMILIES)


TRACEBACK = "Traceback (most recent call last):\n  …\nKeyError: 3\n"
ERROR = "purespike: error: no such file\n"
VERDICTS = {
    "refused": (Ended(2, "", ERROR), "bad", set()),
    "refused after a line of progress": (Ended(2, "", f"purifying: 1 files\n{ERROR}"), "bad", set()),
    "accepted": (Ended(0, "fine\n", ""), "good", set()),
    "either": (Ended(0, "", ""), "may pass", set()),
    "traceback": (Ended(1, "", TRACEBACK), "bad", {"no traceback"}),
    "silent": (Ended(0, "", ""), "bad", {"bad input is refused"}),
    "too strict": (Ended(2, "", ERROR), "good", {"good input is accepted"}),
    "no word": (Ended(2, "", ""), "bad", {"one message"}),
    "two messages": (Ended(2, "", ERROR * 2), "bad", {"one message"}),
    "too many lines": (Ended(2, "", "a\nb\nc\n" + ERROR), "bad", {"at most 3 lines"}),
    "crash": (Ended(-11, "", ""), "bad", {"exit code 0 or 2"}),
    "hung": (Ended(-9, "", "", hung=True), "bad", {"time is bounded"}),
    "out of time": (Ended(-24, "", ""), "bad", {"time is bounded"}),
    "memory": (Ended(2, "", ERROR, growth=5000.0), "bad", {"memory is bounded"}),
}


@pytest.mark.parametrize(("ended", "oracle", "broken"), VERDICTS.values(), ids=VERDICTS.keys())
def test_the_judge_of_inputs(ended, oracle, broken):
    assert {promise for promise, _ in made.judge(ended, oracle, ["info", "x"])} == broken


JUDGED = {
    ".html": ("<p title='a'>{}</p>", "&lt;script&gt;", "<script>alert(1)</script>"),
    ".csv": ("a,b\n1,{}\n", "'=cmd()", "=cmd()"),
    ".tex": (r"\begin{{tabular}} {} & 1 \\", r"\textbackslash{{}}input\{{x\}}", r"\input{x}"),
    ".md": ("| {} | 1 |\n", r"a \| \<script>", "<b>x | y"),
}


@pytest.mark.parametrize(("page", "inert", "active"), JUDGED.values(), ids=JUDGED.keys())
def test_the_judges_of_names(page, inert, active):
    judge = next(names.JUDGES[key] for key, value in JUDGED.items() if value == (page, inert, active))
    plain = judge(page.format("plain"))
    assert judge(page.format(inert)) == plain
    assert judge(page.format(active)) != plain
    assert judge(page.format("\x1b[31m")) != plain


def test_disturbances_come_at_the_write_they_name(desk, tmp_path):
    line = ["leaderboard", str(desk.run), "--out", "out"]
    places = [tmp_path / name for name in ("left", "killed", "full")]
    for place in places:
        place.mkdir()
    left, killed, full = places
    ended = call(line, left)
    assert ended.code == 0 and "leaderboard: " in ended.out and ended.seconds > 0 and not ended.errors
    assert call(line, killed, partial(killed_at, 2, killed)).code == -9
    note = tmp_path / "note"
    for count in (1, 2):
        ended = call(line, full, partial(disk_full_at, 0, full, note))
        assert ended.code == 2 and "No space left on device" in ended.errors[0]
        assert [json.loads(each)["path"] for each in note.read_text().splitlines()] == [
            "out/leaderboard.md",
            "out/leaderboard.csv",
        ][:count]
    assert [path.name for path in (full / "out").iterdir()] == ["leaderboard.md"]
    assert differences(full / "out", left / "out") == [
        f"leaderboard.{kind}: only in the undisturbed run" for kind in ("csv", "html", "tex")
    ]


def test_figures_add_up_and_say_how_to_repeat_a_case(tmp_path, capsys):
    outcomes = {
        "a/0": Outcome(tried=3, figures={"refused": 1.0, "most MiB": 2.0}),
        "a/1": Outcome([("one line", "two lines")], figures={"refused": 1.0, "most MiB": 7.0}),
        "b/0": Outcome(skipped="no disk"),
    }
    cases = [Case(name, name[0], lambda desk, draw, each=each: each) for name, each in outcomes.items()]
    figures = work("Things", cases, None, SMALL)
    assert figures.rows == [Row("a", 4, 1, "2 refused, 7 most MiB"), Row("b")]
    assert figures.broken == [Broken("a/1", "one line", "two lines")] and figures.skipped == ["b/0: no disk"]
    assert work("Things", cases, None, SMALL, only="b").rows == [Row("b")]
    content = publish(figures, "things", SMALL, 1.0)
    assert not show("things", content)
    assert "--only things --case a/1" in capsys.readouterr().out
    (tmp_path / "things.json").write_text(json.dumps(content))
    page = markdown(tmp_path, ["things", "others"])
    assert page.startswith("### Things") and "| a | 4 | **1** | 2 refused, 7 most MiB |" in page
    assert "make torture" in markdown(tmp_path, ["others"])


def test_a_part_is_repeated_unless_the_same_commit_did_it(tmp_path, monkeypatch):
    origin = {"commit": "a" * 40, "dirty": False}
    monkeypatch.setattr("torture.report.provenance", lambda seed: origin)
    path = tmp_path / "kills.json"
    assert not finished(path, SMALL)
    path.write_text(json.dumps(publish(Figures("Kills"), "kills", SMALL, 1.0)))
    assert finished(path, SMALL)
    assert not finished(path, Settings(seed=1, scale="small"))
    origin = {"commit": "b" * 40, "dirty": False}
    assert not finished(path, SMALL)
    origin = {"commit": "a" * 40, "dirty": True}
    assert not finished(path, SMALL)
