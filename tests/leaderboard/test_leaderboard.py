"""A leaderboard ranks by the number that counts, hides nothing, and survives any file."""

import csv
import dataclasses
import html.parser
import io
import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from purespike.errors import InputError
from purespike.leaderboard import ranking
from purespike.leaderboard import rendering as files
from purespike.leaderboard.ranking import Leaderboard, columns, leaderboard
from purespike.leaderboard.rendering import write_leaderboard
from purespike.results.vocabulary import THREATS

NASTY = 'x|y & <script>alert("1")</script> $a_1^2$ {b} \\end{table} [l](javascript:1) **b** %'
# RobustBench, model_info/cifar10/Linf, shortened in its words
CARMON = {
    "link": "https://arxiv.org/abs/1905.13736",
    "name": "Unlabeled Data Improves Adversarial Robustness",
    "authors": "Yair Carmon",
    "additional_data": True,
    "number_forward_passes": 1,
    "dataset": "cifar10",
    "venue": "NeurIPS 2019",
    "architecture": "WideResNet-28-10",
    "eps": "8/255",
    "clean_acc": "89.69",
    "reported": "62.5",
    "autoattack_acc": "59.53",
}
XIAO = {
    **CARMON,
    "name": "k-Winners-Take-All",
    "eps": "0.031",
    "clean_acc": "79.28",
    "autoattack_acc": "18.50",
    "external": "7.15",
    "unreliable": True,
}


def ours(name: str, adaptive: float | None, **more: Any) -> dict[str, Any]:
    worst = 90.0 if adaptive is None else adaptive
    found = {
        "name": name,
        "dataset": "cifar10",
        "architecture": "purifier + senet18_snn",
        "norm": "linf",
        "eps": "8/255",
        "clean_acc": "93.20",
        "autoattack_acc": None,
        "oblivious_acc": "90.00",
        "adaptive_acc": None if adaptive is None else f"{adaptive:.2f}",
        "worst_case": f"{worst:.2f}",
        "intervals": {"clean_acc": ["89.10", "95.80"], "worst_case": ["40.00", "95.00"]},
        "images": 250,
        "verdict": {"level": "reliable", "reasons": []},
    }
    if adaptive is not None:
        found["intervals"] |= {"adaptive_acc": [f"{adaptive / 2:.2f}", f"{adaptive + 1:.2f}"]}
    return found | more


def put(folder: Path, **cards: Any) -> Path:
    for name, value in cards.items():
        path = folder / f"{name.replace('__', '/')}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(value if isinstance(value, str) else json.dumps(value), encoding="utf-8")
    return folder


def names(board: Leaderboard, group: int = 0) -> list[tuple[int | None, str]]:
    return [(line.rank, line.card.name) for line in board.groups[group].lines]


class Page(html.parser.HTMLParser):
    """The tables of the page: rows of cells, and every tag and link."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str | None] = []
        self.rows: list[list[str]] = []
        self.values: list[str | None] = []
        self.inside = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value for name, value in attrs if name in ("href", "src")]
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
            self.inside = True
        if tag == "td":
            self.values.append(dict(attrs).get("data-value"))

    def handle_endtag(self, tag: str) -> None:
        self.inside = self.inside and tag not in ("td", "th")

    def handle_data(self, data: str) -> None:
        if self.inside:
            self.rows[-1][-1] += f" {data.strip()}" if data.strip() else ""


def test_ranked_by_the_adaptive_worst_case(tmp_path: Path) -> None:
    put(tmp_path, a=ours("low", 10), deep__er__b=ours("high", 50), c=ours("mid", 20), d=ours("twin", 20))
    assert names(leaderboard(tmp_path)) == [(1, "high"), (2, "mid"), (2, "twin"), (4, "low")]


def test_unreliable_ones_stand_below_and_are_marked(tmp_path: Path) -> None:
    bad = {"level": "unreliable", "reasons": ["gradients are zero"]}
    put(
        tmp_path,
        a=ours("honest", 3),
        b=ours("masked", 99, verdict=bad),
        c=ours("oblivious only", None),
        d=ours("doubtful", 2, verdict={"level": "suspicious", "reasons": []}),
    )
    board = leaderboard(tmp_path)
    assert names(board) == [(1, "honest"), (2, "doubtful"), (None, "oblivious only"), (None, "masked")]
    assert [line.field("verdict").text for line in board.groups[0].lines] == [
        "reliable",
        "suspicious",
        "reliable",
        "unreliable †",
    ]
    assert board.groups[0].lines[2].field("verdict").notes == ("no adaptive attack",)
    for made in (files.markdown_leaderboard, files.latex_leaderboard, files.html_leaderboard):
        assert "masked" in made(board)


def test_groups_are_what_can_be_compared(tmp_path: Path) -> None:
    put(
        tmp_path,
        a=ours("a", 1),
        b=ours("b", 1, eps="16/255"),
        c=ours("c", 1, norm="l2", eps="0.5"),
        d=ours("d", 1, dataset="mnist"),
        e=ours("e", 1, eps="0.03137254901960784"),
    )
    assert [(group.heading, len(group.lines)) for group in leaderboard(tmp_path).groups] == [
        ("cifar10, L2, eps 0.5", 1),
        ("cifar10, L∞, eps 8/255", 2),
        ("cifar10, L∞, eps 16/255", 1),
        ("mnist, L∞, eps 8/255", 1),
    ]


def test_files_of_robustbench_are_read(tmp_path: Path) -> None:
    put(
        tmp_path,
        cifar10__Linf__Carmon=CARMON,
        cifar10__Linf__Xiao=XIAO,
        cifar10__Linf__Bai=CARMON | {"name": "Bai", "autoattack_acc": "70.08", "external": "50.00"},
        cifar10__L2__Standard=CARMON | {"eps": "0.5", "autoattack_acc": "0.0"},
        cifar10__corruptions__One=CARMON | {"eps": None, "autoattack_acc": None},
        ours=ours("ours", 55),
        elsewhere=CARMON | {"name": "no folder tells the norm"},
    )
    board = leaderboard(tmp_path)
    assert not board.warnings
    groups = {group.heading: names(board, place) for place, group in enumerate(board.groups)}
    # a better attack than AutoAttack decides; a card's own norm is the folder's
    assert groups["cifar10, L∞, eps 8/255"] == [(1, CARMON["name"]), (2, "ours"), (3, "Bai")]
    assert groups["cifar10, L∞, eps 0.031"] == [(None, XIAO["name"])]
    assert groups["cifar10, L2, eps 0.5"] == [(1, CARMON["name"])]
    assert groups["cifar10, corruptions, no eps bound"] == [(None, CARMON["name"])]
    assert groups["cifar10, norm not given, eps 8/255"] == [(1, "no folder tells the norm")]
    (carmon, _, bai), *_ = (g.lines for g in board.groups if g.heading == "cifar10, L∞, eps 8/255")
    assert carmon.field("autoattack_acc") == ranking.Field("59.53", 59.53, ("white-box",))
    assert bai.field("autoattack_acc").notes == ("white-box", "50.00 by another attack")
    assert carmon.field("adaptive_acc").text == carmon.field("gap").text == "–"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not JSON"),
        ('{"clean_acc": NaN, "name": "a", "dataset": "d"}', "clean_acc: is not a number, got nan"),
        (CARMON | {"clean_acc": "high"}, "clean_acc: is not a number, got 'high'"),
        (CARMON | {"clean_acc": True}, "clean_acc: is not a number, got True"),
        (CARMON | {"autoattack_acc": "101"}, "autoattack_acc: is no percentage, got '101'"),
        (CARMON | {"autoattack_acc": [1]}, "autoattack_acc: is not a number"),
        (CARMON | {"adaptive_acc": "-1"}, "robust.adaptive: is no percentage, got '-1'"),
        (CARMON | {"name": ""}, "name: is missing"),
        (CARMON | {"dataset": None}, "dataset: is missing"),
        (CARMON | {"eps": "eight"}, "eps: is not a number, got 'eight'"),
        (CARMON | {"eps": "8/0"}, "malformed card"),
        (CARMON | {"eps": "1e999999999"}, "eps: is not a number, got '1e999999999'"),
        (CARMON | {"eps": "1e999999999/3"}, "eps: is not a number"),
        (CARMON | {"eps": "-1"}, "negative"),
        (CARMON | {"intervals": 3}, "intervals: Input should be a valid dictionary, got 3"),
        (CARMON | {"intervals": {"clean_acc": ["1"]}}, "malformed card"),
        ("[" * 100_000, "not JSON"),
    ],
)
def test_a_broken_file_is_one_line(tmp_path: Path, content: Any, message: str) -> None:
    put(tmp_path, good=ours("good", 1), broken=content)
    heard: list[str] = []
    write_leaderboard(tmp_path, tmp_path / "out", say=heard.append)
    (line,) = heard
    assert re.search(message, line) and "broken.json" in line and "\n" not in line
    assert names(leaderboard(tmp_path)) == [(1, "good")]
    text = (tmp_path / "out" / "leaderboard.html").read_text(encoding="utf-8")
    assert "broken.json" in text


def test_a_name_that_no_file_can_hold_costs_no_leaderboard(tmp_path: Path) -> None:
    put(tmp_path, good=ours("good", 1), broken=CARMON | {"name": "half \ud800 pair"})
    os.mkfifo(tmp_path / "card-pipe.json")
    text = write_leaderboard(tmp_path, tmp_path / "out").read_text(encoding="utf-8")
    assert "not Unicode" in text and "good" in text


def test_other_json_is_passed_over(tmp_path: Path) -> None:
    put(
        tmp_path,
        good=ours("good", 1),
        evaluation={"schema": 1, "cells": [], "worst_case": []},
        environment={"command": "x"},
        numbers=[1, 2],
    )
    board = leaderboard(tmp_path)
    assert len(board.groups) == 1 and not board.warnings


def test_a_card_of_ours_must_be_whole(tmp_path: Path) -> None:
    put(tmp_path, good=ours("good", 1))
    (tmp_path / "card-linf-8_255.json").write_text("{}")
    (line,) = leaderboard(tmp_path).warnings
    assert "card-linf-8_255.json" in line and "name: is missing" in line


def test_a_threat_model_that_nobody_registered_is_named(tmp_path):
    put(tmp_path, a=ours("first", 25, mine_acc="3.00", attacks={"adaptive": ["pgd"], "mine": ["pgd"]}))
    (line,) = leaderboard(tmp_path).warnings
    assert line == (
        f"{tmp_path}/a.json: threat model 'mine', which nobody registered; --import its module for its column"
    )


def test_nothing_to_rank_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no result card; `purespike evaluate"):
        leaderboard(tmp_path)
    put(tmp_path, broken="{")
    with pytest.raises(InputError, match="1 broken"):
        write_leaderboard(tmp_path, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    with pytest.raises(InputError, match="no such folder"):
        leaderboard(tmp_path / "nowhere")


@pytest.fixture
def board(tmp_path: Path) -> Leaderboard:
    extra = {
        "transfer_acc": "80.00",
        "query_acc": "70.00",
        "autoattack_acc": "26.00",
        "autoattack_threat": "adaptive",
        "link": "javascript:alert(1)",
    }
    put(tmp_path, a=ours("first", 25, **extra), b=ours(NASTY, 9, architecture=NASTY), Linf__c=CARMON)
    return leaderboard(tmp_path)


def test_page_says_all_and_stands_alone(board: Leaderboard) -> None:
    page = Page(files.html_leaderboard(board))
    heads, *rows = page.rows
    for column, head in zip(columns(), heads, strict=True):
        assert head.strip() == f"{column.title} {column.note}".strip()
    assert {len(row) for row in rows} == {len(columns())}
    for line, row in zip(board.groups[0].lines, rows, strict=True):
        for (_, field), cell in zip(line.fields(), row, strict=True):
            assert cell.split() == " ".join([field.text, *field.notes]).split()
    assert page.tags.count("script") == 1 and not {"link", "iframe", "img"} & set(page.tags)
    # the one link is that of the card, and only where it is a web address
    assert page.links == [CARMON["link"]]
    assert "@media (prefers-color-scheme: dark)" in files.html_leaderboard(board)


def test_page_carries_values_to_sort_by(board: Leaderboard) -> None:
    values = Page(files.html_leaderboard(board)).values
    wanted = [field.value for line in board.groups[0].lines for _, field in line.fields()]
    assert values == [None if value is None else str(value) for value in wanted]


def test_robust_columns_name_their_threat_model() -> None:
    notes = {column.key: column.note for column in columns()}
    assert "unaware" in notes["oblivious_acc"] and "worst case" in notes["adaptive_acc"]
    assert all(notes[key] for key in ("transfer_acc", "query_acc", "worst_case", "autoattack_acc", "gap"))


def test_fields_are_those_of_the_card(board: Leaderboard) -> None:
    (line,) = [line for line in board.groups[0].lines if line.card.name == "first"]
    shown = {column.key: (field.text, *field.notes) for column, field in line.fields()}
    assert shown == {
        "rank": ("2",),
        "name": ("first",),
        "architecture": ("purifier + senet18_snn",),
        "clean_acc": ("93.20", "[89.10, 95.80]"),
        "oblivious_acc": ("90.00",),
        "adaptive_acc": ("25.00", "[12.50, 26.00]"),
        "gap": ("65.00",),
        "transfer_acc": ("80.00",),
        "query_acc": ("70.00",),
        "worst_case": ("25.00", "[40.00, 95.00]"),
        "autoattack_acc": ("26.00", "adaptive"),
        "images": ("250",),
        "verdict": ("reliable",),
    }


def test_markdown_survives_names(board: Leaderboard) -> None:
    text = files.markdown_leaderboard(board)
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {len(columns()) + 1}
    assert "<script" not in text and "[l](" not in text and "**b**" not in text


def test_latex_survives_names(board: Leaderboard) -> None:
    text = files.latex_leaderboard(board)
    rows = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert {len(re.split(r"(?<!\\)&", row)) for row in rows} == {len(columns())}
    assert text.count(r"\end{table}") == text.count(r"\begin{table}") == 1
    assert not re.search(r"(?<!\\)\$a", text) and r"\$a\_1\textasciicircum{}2\$" in text
    plain = re.sub(r"\\[{}\\%&$#_]", "", text)
    assert plain.count("{") == plain.count("}")
    # no row begins with what the end of the row before it would take for an argument
    assert not re.search(r"\\\\\s*[\[*]", text)


def test_csv_reads_back(board: Leaderboard) -> None:
    lines = list(csv.DictReader(io.StringIO(files.csv_leaderboard(board), newline="")))
    assert [line["name"] for line in lines] == [line.card.name for line in board.groups[0].lines]
    carmon, first, nasty = lines
    assert (nasty["name"], nasty["architecture"]) == (NASTY, NASTY)
    assert (carmon["rank"], carmon["autoattack_acc"], carmon["autoattack_threat"]) == (
        "1",
        "59.53",
        "white-box",
    )
    assert carmon["adaptive_acc"] == carmon["images"] == ""
    assert (first["adaptive_acc"], first["adaptive_acc_low"], first["adaptive_acc_high"]) == (
        "25.0",
        "12.5",
        "26.0",
    )
    assert (first["gap"], first["norm"], first["eps"]) == ("65.0", "linf", "8/255")


def test_written_again_it_is_the_same(tmp_path: Path) -> None:
    put(tmp_path, a=ours("a", 1))
    page = write_leaderboard(tmp_path, tmp_path)
    names = ("leaderboard.html", "leaderboard.md", "leaderboard.csv", "leaderboard.tex")
    before = [(tmp_path / name).read_bytes() for name in names]
    assert write_leaderboard(tmp_path, tmp_path) == page == tmp_path / "leaderboard.html"
    assert [(tmp_path / name).read_bytes() for name in names] == before
    assert not list(tmp_path.rglob("*.part"))


def test_a_registered_threat_model_has_a_column(board: Leaderboard, monkeypatch: pytest.MonkeyPatch) -> None:
    words = dataclasses.replace(THREATS["query"], name="decision", title="Decision", short="labels only")
    monkeypatch.setitem(THREATS, "decision", words)
    assert "Decision (labels only)" in files.markdown_leaderboard(board)
    assert "decision_acc_low" in files.csv_leaderboard(board)
    assert ".decision { --tone:" in files.html_leaderboard(board)


@pytest.mark.parametrize(("other", "said"), [("a", False), ("b", True), (None, False)])
def test_models_that_met_other_images_are_no_silent_rivals(
    tmp_path: Path, other: str | None, said: bool
) -> None:
    for name, fingerprint in (("one", "a"), ("two", other)):
        card = ours(name, 40.0, fingerprint=fingerprint)
        (tmp_path / f"card-{name}.json").write_text(json.dumps(card), encoding="utf-8")
    (group,) = leaderboard(tmp_path).groups
    assert ("attacked on different images" in group.heading) is said
