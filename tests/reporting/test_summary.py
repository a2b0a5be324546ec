"""The sentences at the head of a report are the measured numbers, and claim no more."""

from typing import Any

from purespike.reporting.summary import summary, tiles
from purespike.results import Evaluation, Score

from .conftest import N

Content = dict[str, Any]
EPS = 16 / 255


def test_summary_is_the_measured_numbers(evaluation: Evaluation) -> None:
    assert summary(evaluation)[0] == (
        "On 360 digits test images the purifier lifts accuracy under the worst of all attacks "
        "(L∞, eps 16/255) from 3.1% to 84.2% against an attacker who does not know it, "
        "and to 12.5% against one who does."
    )


def test_summary_does_not_sell_noise_as_a_gain(content: Content) -> None:
    alone = {(c["attack"], c["eps"]): c for c in content["cells"] if c["threat"] == "undefended"}
    for cell in content["cells"]:
        if cell["threat"] == "oblivious":
            cell |= {name: alone[cell["attack"], cell["eps"]][name] for name in ("score", "outcomes")}
    assert "no measurable difference" in summary(Evaluation.from_json(content))[0]


def test_summary_tells_when_no_attack_knows_the_purifier(content: Content) -> None:
    content["cells"] = [c for c in content["cells"] if c["threat"] in ("undefended", "oblivious")]
    assert "upper bound" in summary(Evaluation.from_json(content))[0]


def test_an_adaptive_attack_alone_is_not_called_missing(content: Content) -> None:
    for name in ("cells", "worst_case"):
        content[name] = [one for one in content[name] if one["threat"] == "adaptive"]
    assert "against an attacker who knows the purifier" in summary(Evaluation.from_json(content))[0]


def test_nothing_attacked(content: Content) -> None:
    content |= {"cells": [], "worst_case": []}
    assert "no attack was run" in summary(Evaluation.from_json(content))[0]


def test_summary_and_tiles_are_what_is_left_of_everything_that_ran(content: Content) -> None:
    """An escalated attack refutes the number of the one before it: nowhere at the head is that number."""
    first = next(
        c for c in content["cells"] if (c["attack"], c["threat"], c["eps"]) == ("pgd", "adaptive", EPS)
    )
    raised = {**first, "settings": {"steps": 80}, "raised_from": 20, "outcomes": [0] * N}
    content["cells"].append({**raised, "score": Score.share(0, N).to_json()})
    evaluation = Evaluation.from_json(content)
    assert "to 0.0% against one who does" in summary(evaluation)[0]
    assert tiles(evaluation)[-1].entry.text == "0.0"
    content["model"]["purifier"] = content["clean"]["defended"] = None
    assert "to 0.0% under the worst of all attacks" in summary(Evaluation.from_json(content))[0]


def test_tiles_are_clean_and_every_threat_model(evaluation: Evaluation) -> None:
    assert [(tile.label, tile.entry.text) for tile in tiles(evaluation)] == [
        ("Clean", "95.6"),
        ("Undefended", "3.1"),
        ("Oblivious", "84.2"),
        ("BPDA", "39.4"),
        ("Adaptive", "12.5"),
    ]
