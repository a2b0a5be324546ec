"""A card agrees with plain loops over the outcomes, has RobustBench's shape, and reads back as it was."""

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import pytest

from purespike.errors import InputError
from purespike.results import Card, Evaluation, Score, make_card, read_card, write_cards
from purespike.results.vocabulary import THREATS

from .made import END_TO_END, N, made, percent, robust

COMMITTED = sorted((Path(__file__).parents[2] / "results").rglob("card-*.json"))
# the keys that every file under RobustBench's model_info/cifar10/Linf has, and their types there
ROBUSTBENCH = {
    "link": str,
    "name": str,
    "authors": str,
    "additional_data": bool | None,
    "number_forward_passes": int,
    "dataset": str,
    "venue": str,
    "architecture": str,
    "eps": str,
    "clean_acc": str,
    "reported": str | None,
    "autoattack_acc": str | None,
    "footnote": str,
    "unreliable": bool,
}


def card(content: Any, *, eps: float | str) -> dict[str, Any]:
    return make_card(Evaluation.from_json(content), name="ours", eps=eps).to_json()


@pytest.mark.parametrize("eps", [8, 16])
def test_card_is_the_worst_case_of_each_threat_model(eps: int) -> None:
    content = made()
    found = card(content, eps=f"{eps}/255")
    for threat in ("undefended", *END_TO_END):
        assert found[f"{threat}_acc"] == percent(robust(content, eps / 255, (threat,)))
    assert found["worst_case"] == percent(robust(content, eps / 255, END_TO_END))
    # the adaptive attacker has everybody's images
    assert found["worst_case"] == found["adaptive_acc"]
    others = (float(found[f"{threat}_acc"]) for threat in END_TO_END if threat != "adaptive")
    assert float(found["worst_case"]) < min(others)
    assert found["clean_acc"] == found["clean"]["purified"] == percent(content["clean_outcomes"]["defended"])
    assert found["clean"]["bare"] == percent(content["clean_outcomes"]["undefended"])


def test_intervals_are_wilsons() -> None:
    found = card(made(), eps=8 / 255)
    z = 1.959963984540054
    measured = [key for key in found["intervals"] if key not in ("clean_acc", "autoattack_acc")]
    assert set(found["intervals"]) == {key for key in found if key.endswith("_acc")} | {"worst_case"}
    for key in measured:
        share = float(found[key]) / 100
        middle = (share + z * z / (2 * N)) / (1 + z * z / N)
        half = z / (1 + z * z / N) * math.sqrt(share * (1 - share) / N + z * z / (4 * N * N))
        low, high = map(float, found["intervals"][key])
        assert low == pytest.approx(100 * (middle - half), abs=0.006)
        assert high == pytest.approx(100 * (middle + half), abs=0.006)


def test_card_has_the_shape_of_robustbench() -> None:
    found = json.loads(json.dumps(card(made(), eps=8 / 255)))
    assert list(found)[: len(ROBUSTBENCH)] == list(ROBUSTBENCH)
    for key, kind in ROBUSTBENCH.items():
        assert isinstance(found[key], kind), key
    assert (found["eps"], found["dataset"], found["norm"]) == ("8/255", "digits", "linf")
    assert found["architecture"] == "purifier + senet18_snn"
    assert (found["images"], found["seed"], found["commit"]) == (N, 3, "abc")
    assert found["attacks"]["adaptive"] == ["FGSM", "PGD-20", "AutoAttack"]
    assert found["warnings"] == ["FAB found nothing"]


def test_autoattack_is_never_replaced() -> None:
    content = made()
    (cell,) = [
        one
        for one in content["cells"]
        if (one["attack"], one["threat"], one["eps"]) == ("autoattack", "adaptive", 8 / 255)
    ]
    found = card(content, eps=8 / 255)
    assert found["autoattack_acc"] == percent(cell["outcomes"]) != found["adaptive_acc"]
    assert found["autoattack_threat"] == "adaptive"
    content["cells"].remove(cell)
    # an oblivious AutoAttack is still there, and is not an attack on the defended model
    without = card(content, eps=8 / 255)
    assert without["autoattack_acc"] is without["autoattack_threat"] is None
    assert "autoattack_acc" not in without["intervals"]


def test_autoattack_of_a_bare_classifier_is_undefended() -> None:
    content = made(purifier=False)
    content["cells"] = [cell for cell in content["cells"] if cell["threat"] == "undefended"]
    outcomes = [1, 0] * (N // 2)
    cell = {
        **content["cells"][0],
        "attack": "autoattack",
        "outcomes": outcomes,
        "score": Score.of(outcomes).to_json(),
    }
    content["cells"].append(cell)
    found = card(content, eps=8 / 255)
    assert (found["autoattack_acc"], found["autoattack_threat"]) == ("50.00", "undefended")
    assert found["adaptive_acc"] is None
    assert found["worst_case"] == percent(robust(content, 8 / 255, ("undefended",)))
    assert found["clean_acc"] == found["clean"]["bare"] and found["clean"]["purified"] is None


@pytest.mark.parametrize(
    ("verdict", "flag"),
    [
        (None, False),
        ({"level": "reliable", "reasons": []}, False),
        ({"level": "unreliable", "reasons": ["masked"]}, True),
    ],
)
def test_unreliable_follows_the_verdict(verdict: Any, flag: bool) -> None:
    found = card({**made(), "verdict": verdict}, eps=8 / 255)
    assert found["unreliable"] is flag and found["verdict"] == verdict


def test_one_card_for_each_budget(tmp_path: Path) -> None:
    names = [path.name for path in write_cards(Evaluation.from_json(made()), tmp_path, name="ours")]
    assert names == ["card-linf-8_255.json", "card-linf-16_255.json"]
    assert json.loads((tmp_path / names[1]).read_text())["eps"] == "16/255"
    (path,) = write_cards(Evaluation.from_json(made(norm="l2", sizes=(0.5,))), tmp_path, name="ours")
    assert path.name == "card-l2-0.5.json"
    found = json.loads(path.read_text())
    assert (found["norm"], found["eps"]) == ("l2", "0.5")
    # Carlini and Wagner's attack has the norm, but no bound
    assert found["undefended_acc"] == percent(robust(made(norm="l2", sizes=(0.5,)), 0.5, ("undefended",)))


def test_no_card_for_what_was_not_measured(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no attack was run at eps 2/255"):
        card(made(), eps="2/255")
    content = made()
    content["cells"] = [cell for cell in content["cells"] if cell["eps"] is None]
    assert write_cards(Evaluation.from_json(content), tmp_path, name="ours") == []


def test_a_card_reads_back(tmp_path: Path) -> None:
    evaluation = Evaluation.from_json(made())
    for path in write_cards(evaluation, tmp_path, name="ours"):
        found = read_card(path)
        assert found
        made_again = make_card(evaluation, name="ours", eps=found.eps_text)
        assert found.to_json() == made_again.to_json() == json.loads(path.read_text())


@pytest.mark.parametrize("path", COMMITTED, ids=lambda path: path.parent.parent.name)
def test_committed_cards_are_written_as_they_were(path: Path, tmp_path: Path) -> None:
    found = read_card(path)
    assert found
    found.save(tmp_path / "read.json")
    evaluation = Evaluation.read(path.parent / "evaluation.json")
    make_card(evaluation, name=found.name, eps=found.eps_text).save(tmp_path / "made.json")
    assert (tmp_path / "read.json").read_bytes() == (tmp_path / "made.json").read_bytes() == path.read_bytes()


def test_a_registered_threat_model_is_on_the_card(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(THREATS, "decision", dataclasses.replace(THREATS["query"], name="decision"))
    content = made()
    for cell in content["cells"]:
        if cell["threat"] == "query":
            cell["threat"] = "decision"
    found = card(content, eps=8 / 255)
    assert (
        found["decision_acc"] == percent(robust(content, 8 / 255, ("decision",))) and not found["query_acc"]
    )
    assert list(found).index("decision_acc") == list(found).index("worst_case") - 1
    assert Card.from_json(found).accuracy("decision_acc").text == found["decision_acc"]
