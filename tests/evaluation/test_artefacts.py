"""What an evaluation leaves on disk agrees with plain loops over its outcomes, and reads back as it was."""

import functools
import itertools
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from purespike.errors import InputError
from purespike.evaluation import evaluate
from purespike.evaluation.artefacts import (
    card,
    read_outcomes,
    write_artefacts,
    write_cards,
    write_outcomes,
)
from purespike.evaluation.scores import score

from .victims import defended, foreign, photographs

N = 40
WHOLE = ("oblivious", "bpda", "adaptive", "transfer", "query")
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


def made(*, norm: str = "linf", purifier: bool = True, sizes: tuple[float, ...] = (8 / 255, 16 / 255)) -> Any:
    """An evaluation with random outcomes, so that the worst case is below every cell."""
    draw = np.random.default_rng(4)

    def bits(share: float) -> list[int]:
        return [int(bit) for bit in draw.random(N) < share]

    threats = ("undefended", *WHOLE) if purifier else ("undefended", "adaptive")
    clean = {"undefended": bits(0.95), "defended": bits(0.9)}
    cells = []
    for eps, threat, (attack, steps) in itertools.product(
        sizes, threats, (("fgsm", 1), ("pgd", 20), ("autoattack", 100))
    ):
        if attack == "autoattack" and threat not in ("adaptive", "oblivious"):
            continue
        cells.append((attack, eps, norm, threat, {"steps": steps}))
    cells.append(("gaussian_noise", None, "noise", "oblivious", {"level": 0.1}))
    cells.append(("cw", None, "l2", "undefended", {"steps": 100}))
    columns = [bits(0.8) for _ in cells]
    return {
        "schema": 1,
        "model": {
            "classifier": {"architecture": "senet18_snn"},
            "purifier": {"architecture": "purifier"} if purifier else None,
        },
        "data": {"source": "digits", "split": "test", "n": N, "fingerprint": "0f"},
        "settings": {"norm": norm, "eps": list(sizes)},
        "clean": {
            "undefended": score(clean["undefended"]),
            "defended": score(clean["defended"]) if purifier else None,
        },
        "clean_outcomes": clean,
        "labels": [index % 10 for index in range(N)],
        "cells": [
            {
                "attack": attack,
                "eps": eps,
                "norm": bound,
                "threat": threat,
                "settings": settings,
                "outcomes": column,
                "score": score(column),
                "warnings": ["FAB found nothing"] if attack == "autoattack" else [],
            }
            for (attack, eps, bound, threat, settings), column in zip(cells, columns, strict=True)
        ],
        "diagnostics": None,
        "verdict": {"level": "suspicious", "reasons": ["budget"]},
        "seed": 3,
        "provenance": {"command": "purespike evaluate m", "commit": "abc", "dirty": False, "date": "2026"},
    }


def left(content: Any, eps: float, threats: tuple[str, ...]) -> list[bool]:
    """Image by image: does it stand in every bounded cell of these threat models?"""
    result = []
    for image in range(N):
        stands = True
        for cell in content["cells"]:
            if cell["eps"] == eps and cell["threat"] in threats and not cell["outcomes"][image]:
                stands = False
        result.append(stands)
    return result


def percent(values: list[bool]) -> str:
    return f"{100 * sum(values) / len(values):.2f}"


@functools.cache
def measured() -> Any:
    images, labels = photographs(12, seed=5)
    return evaluate(
        defended(),
        (images, labels),
        attacks=["fgsm", {"name": "pgd", "steps": 2}],
        threat=["oblivious", "adaptive"],
        surrogates=["atan"],
        eps=["8/255", "4/255"],
        diagnose=0,
    ).content


def test_outcomes_come_back(tmp_path: Path) -> None:
    content = made()
    write_outcomes(content, tmp_path / "outcomes.npz", labels=content["labels"])
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
        for threat in ("undefended", *WHOLE):
            wanted = left(content, eps / 255, (threat,))
            assert found.pop(f"worst/{threat}/linf-{eps}_255").tolist() == wanted
        assert found.pop(f"worst/whole/linf-{eps}_255").tolist() == left(content, eps / 255, WHOLE)
    assert not found


def test_cells_of_one_name_are_all_kept(tmp_path: Path) -> None:
    content = made()
    twin = {**content["cells"][1], "outcomes": [0] * N, "score": score([0] * N), "settings": {"steps": 20}}
    content["cells"].append(twin)
    write_outcomes(content, tmp_path / "outcomes.npz")
    found = read_outcomes(tmp_path / "outcomes.npz")
    first = "cell/undefended/linf-8_255/pgd-20"
    assert found[first].any() and not found[f"{first}~2"].any()
    assert not found["worst/undefended/linf-8_255"].any()
    assert "labels" not in found


def test_writing_is_atomic(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "outcomes.npz"
    write_outcomes(made(), path)
    before = path.read_bytes()

    def full(*_: Any, **__: Any) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(np, "savez_compressed", full)
    with pytest.raises(OSError, match="no space"):
        write_outcomes(made(), path)
    assert path.read_bytes() == before and [item.name for item in tmp_path.iterdir()] == ["outcomes.npz"]


def test_labels_must_fit(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="one for each of 40 images"):
        write_outcomes(made(), tmp_path / "outcomes.npz", labels=[1, 2])


def test_outcomes_must_be_whole(tmp_path: Path) -> None:
    content = made()
    content["cells"][2]["outcomes"].pop()
    with pytest.raises(InputError, match="39 of 40 images"):
        write_outcomes(content, tmp_path / "outcomes.npz")


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        (None, "no such file"),
        (b"PK\x03\x04 half", "not a readable npz"),
        ({}, "holds no outcomes"),
        ({"a": np.ones(3, bool), "b": np.ones(4, bool)}, r"b: expected bool \[3\], got bool \[4\]"),
        ({"a": np.ones(3)}, "a: expected bool"),
        ({"a": np.array([None, 1], dtype=object)}, "not a readable npz"),
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


@pytest.mark.parametrize("eps", [8, 16])
def test_card_is_the_worst_case_of_each_threat_model(eps: int) -> None:
    content = made()
    found = card(content, name="ours", eps=f"{eps}/255")
    for threat in ("undefended", *WHOLE):
        assert found[f"{threat}_acc"] == percent(left(content, eps / 255, (threat,)))
    assert found["worst_case"] == percent(left(content, eps / 255, WHOLE))
    assert float(found["worst_case"]) < min(float(found[f"{threat}_acc"]) for threat in WHOLE)
    assert found["clean_acc"] == found["clean"]["purified"] == percent(content["clean_outcomes"]["defended"])
    assert found["clean"]["bare"] == percent(content["clean_outcomes"]["undefended"])


def test_intervals_are_wilsons() -> None:
    found = card(made(), name="ours", eps=8 / 255)
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
    found = json.loads(json.dumps(card(made(), name="ours", eps=8 / 255)))
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
    found = card(content, name="ours", eps=8 / 255)
    assert found["autoattack_acc"] == percent(cell["outcomes"]) != found["adaptive_acc"]
    assert found["autoattack_threat"] == "adaptive"
    content["cells"].remove(cell)
    # an oblivious AutoAttack is still there, and is not an attack on the whole
    without = card(content, name="ours", eps=8 / 255)
    assert without["autoattack_acc"] is without["autoattack_threat"] is None
    assert "autoattack_acc" not in without["intervals"]


def test_autoattack_of_a_bare_classifier_is_undefended() -> None:
    content = made(purifier=False)
    content["cells"] = [cell for cell in content["cells"] if cell["threat"] == "undefended"]
    outcomes = [1, 0] * (N // 2)
    cell = {**content["cells"][0], "attack": "autoattack", "outcomes": outcomes, "score": score(outcomes)}
    content["cells"].append(cell)
    found = card(content, name="ours", eps=8 / 255)
    assert (found["autoattack_acc"], found["autoattack_threat"]) == ("50.00", "undefended")
    assert found["adaptive_acc"] is None
    assert found["worst_case"] == percent(left(content, 8 / 255, ("undefended",)))
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
    found = card({**made(), "verdict": verdict}, name="ours", eps=8 / 255)
    assert found["unreliable"] is flag and found["verdict"] == verdict


def test_one_card_for_each_budget(tmp_path: Path) -> None:
    names = [path.name for path in write_cards(made(), tmp_path, name="ours")]
    assert names == ["card-linf-8_255.json", "card-linf-16_255.json"]
    assert json.loads((tmp_path / names[1]).read_text())["eps"] == "16/255"
    (path,) = write_cards(made(norm="l2", sizes=(0.5,)), tmp_path, name="ours")
    assert path.name == "card-l2-0.5.json"
    found = json.loads(path.read_text())
    assert (found["norm"], found["eps"]) == ("l2", "0.5")
    # Carlini and Wagner's attack has the norm, but no bound
    assert found["undefended_acc"] == percent(left(made(norm="l2", sizes=(0.5,)), 0.5, ("undefended",)))


def test_no_card_for_what_was_not_measured(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no attack was run at eps 2/255"):
        card(made(), name="ours", eps="2/255")
    content = made()
    content["cells"] = [cell for cell in content["cells"] if cell["eps"] is None]
    assert write_cards(content, tmp_path, name="ours") == []


def test_everything_of_a_real_evaluation_is_written(tmp_path: Path) -> None:
    content = measured()
    report = write_artefacts(content, tmp_path / "out", name="tiny")
    assert report.read_text(encoding="utf-8").count("data:image/png") >= 2
    assert {path.name for path in report.parent.iterdir()} == {
        "outcomes.npz",
        "card-linf-8_255.json",
        "card-linf-4_255.json",
        "robustness.md",
        "robustness.tex",
        "robustness.csv",
        "evaluation.json",
        "report.html",
        "figures",
    }
    assert json.loads((report.parent / "evaluation.json").read_text()) == json.loads(json.dumps(content))
    found = json.loads((report.parent / "card-linf-4_255.json").read_text())
    for case in content["worst_case"]:
        if case["eps"] == 4 / 255:
            assert found[f"{case['threat']}_acc"] == f"{100 * case['score']['accuracy']:.2f}"
    outcomes = read_outcomes(report.parent / "outcomes.npz")
    for cell in content["cells"]:
        steps = "-2" if cell["attack"] == "pgd" else ""
        key = f"cell/{cell['threat']}/linf-{round(cell['eps'] * 255)}_255/{cell['attack']}{steps}"
        assert outcomes[key].sum() == cell["score"]["correct"]


def test_a_foreign_classifier_has_a_card(tmp_path: Path) -> None:
    content = evaluate(
        foreign(), photographs(8, seed=6), attacks=["fgsm"], threat=["undefended"], diagnose=0
    ).content
    found = card(content, name="theirs", eps="8/255")
    assert found["worst_case"] == found["undefended_acc"] and found["oblivious_acc"] is None


@pytest.mark.parametrize("name", ["digits", "mnist-small", "cifar10-small"])
def test_older_results_are_still_read(tmp_path: Path, name: str) -> None:
    path = Path(__file__).parents[2] / "results" / name / "evaluation.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    (card_path,) = write_cards(content, tmp_path, name=name)
    found = json.loads(card_path.read_text())
    worst = {case["threat"]: case["score"]["accuracy"] for case in content["worst_case"]}
    for threat, share in worst.items():
        assert found[f"{threat}_acc"] == f"{100 * share:.2f}"
    assert float(found["worst_case"]) <= 100 * worst["adaptive"]
    write_outcomes(content, tmp_path / "outcomes.npz", labels=content.get("labels"))
    assert sum(read_outcomes(tmp_path / "outcomes.npz")["worst/adaptive/" + card_path.stem[5:]]) == next(
        case["score"]["correct"] for case in content["worst_case"] if case["threat"] == "adaptive"
    )
