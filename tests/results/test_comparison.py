"""Comparisons: every number is that of its evaluation, and only what can be compared is compared."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from purespike.errors import InputError
from purespike.results import Comparison, Evaluation, Score, read_beside

from .made import N, made, robust

EPS = 8 / 255


def evaluation(content: Any) -> Evaluation:
    return Evaluation.from_json(content)


def others(share: int) -> Any:
    """The same images with other outcomes: every ``share``-th image is broken in every purified cell."""
    content = made()
    for cell in content["cells"]:
        if cell["threat"] != "undefended":
            cell["outcomes"] = [int(index % share > 0) for index in range(N)]
            cell["score"] = Score.of(cell["outcomes"]).to_json()
    return content


def test_every_number_is_counted_image_by_image() -> None:
    contents = {"paper": others(2), "holding": made()}
    found = Comparison.of(
        "holding", evaluation(contents["holding"]), {"paper": evaluation(contents["paper"])}
    )
    assert [each.name for each in found.models] == ["bare classifier", "paper", "holding"]
    assert [each.own for each in found.models] == [False, False, True]
    assert (found.norm, found.eps, found.condition) == ("linf", EPS, "L∞, eps 8/255")
    bare, *models = found.models
    clean = made()["clean_outcomes"]
    assert bare.worst == Score.of(list(map(int, robust(made(), EPS, ("undefended",)))))
    assert (bare.clean, bare.oblivious, bare.threat, bare.level) == (
        Score.of(clean["undefended"]),
        None,
        "undefended",
        None,
    )
    for model in models:
        content = contents[model.name]
        assert model.worst == Score.of(list(map(int, robust(content, EPS, ("adaptive",)))))
        assert model.oblivious == Score.of(list(map(int, robust(content, EPS, ("oblivious",)))))
        assert model.clean == Score.of(clean["defended"])
        assert (model.threat, model.level) == ("adaptive", "suspicious")
    assert models[0].worst != models[1].worst
    assert Comparison.from_json(json.loads(json.dumps(found.to_json()))) == found


def test_every_model_says_where_its_numbers_come_from() -> None:
    own = evaluation({**made(), "provenance": {"command": "purespike run a.yaml", "seed": 3}})
    found = Comparison.from_json(Comparison.of("own", own, {}).to_json())
    (mine,) = [each for each in found.models if each.own]
    assert mine.provenance is not None
    assert (mine.provenance.command, mine.provenance.seed) == ("purespike run a.yaml", 3)
    assert all(each.provenance is None for each in found.models if not each.own)


def weights(content: Any, name: str) -> Any:
    content["provenance"]["made_of"] = {"classifier": name}
    return content


def weaker(content: Any) -> Any:
    """The undefended classifier met FGSM alone."""
    content["cells"] = [
        cell
        for cell in content["cells"]
        if cell["threat"] != "undefended" or cell["attack"] == "fgsm" or cell["eps"] is None
    ]
    return content


@pytest.mark.parametrize(
    ("one", "other", "names"),
    [
        (made(), made(), ["bare classifier"]),
        (weights(made(), "a"), weights(made(), "a"), ["bare classifier"]),
        (weights(made(), "a"), weights(made(), "b"), ["bare classifier of x", "bare classifier of own"]),
        # one classifier by its weights, whatever it met
        (weights(weaker(made()), "a"), weights(made(), "a"), ["bare classifier"]),
        # without weights other numbers are another classifier's
        (weaker(made()), made(), ["bare classifier of x", "bare classifier of own"]),
        (made(purifier=False), made(), ["bare classifier"]),
        (made(purifier=False), made(purifier=False), []),
    ],
)
def test_a_classifier_has_one_row(one: Any, other: Any, names: list[str]) -> None:
    found = Comparison.of("own", evaluation(other), {"x": evaluation(one)})
    assert [each.name for each in found.models] == [*names, "x", "own"]
    if names == ["bare classifier"]:
        hardest = Score.of(list(map(int, robust(made(), EPS, ("undefended",)))))
        assert found.models[0].worst == hardest and "PGD-20" in found.models[0].attacks


def test_a_classifier_without_purifier_has_the_adaptive_worst_case_if_it_was_measured() -> None:
    content = made(purifier=False)
    beside = {"alone": evaluation(content)}
    found = Comparison.of("own", evaluation(made()), beside).models[1]
    assert (found.name, found.threat, found.oblivious) == ("alone", "adaptive", None)
    assert found.worst == Score.of(list(map(int, robust(content, EPS, ("adaptive",)))))
    content["cells"] = [cell for cell in content["cells"] if cell["threat"] == "undefended"]
    found = Comparison.of("own", evaluation(made()), {"alone": evaluation(content)}).models[1]
    assert found.threat == "undefended"
    assert found.worst == Score.of(list(map(int, robust(content, EPS, ("undefended",)))))


def test_notes_tell_which_attacks_each_met() -> None:
    content = made()
    content["settings"] |= {"surrogates": ["rectangle(width=1)", "atan(alpha=2)"], "losses": ["ce"]}
    plain = [cell for cell in content["cells"] if cell["attack"] != "autoattack"]
    same = evaluation(content | {"cells": plain})
    assert Comparison.of("own", same, {"x": same}).notes == ()
    fewer = {"cells": plain, "settings": content["settings"] | {"surrogates": ["rectangle(width=1)"]}}
    (note,) = Comparison.of("own", same, {"x": evaluation(content | fewer)}).notes
    assert "x (adaptive) met FGSM, PGD-20 (1 surrogate, 1 loss)" in note
    assert "own (adaptive) met FGSM, PGD-20 (2 surrogates, 1 loss)" in note
    assert "bare classifier (undefended) met FGSM, PGD-20;" in note
    (note,) = Comparison.of("own", same, {"x": evaluation(content)}).notes
    assert "x (adaptive) met FGSM, PGD-20, AutoAttack" in note
    content |= {"cells": plain, "settings": content["settings"] | {"kept_surrogates": ["net.fire"]}}
    (note,) = Comparison.of("own", same, {"x": evaluation(content)}).notes
    assert note.startswith("x: neurons of another kind kept") and note.endswith("no worst case.")
    content["cells"] = [cell for cell in plain if cell["threat"] in ("undefended", "oblivious")]
    found = Comparison.of("own", same, {"x": evaluation(content)})
    assert found.models[1].worst is None
    assert found.notes[0].startswith("x: no adaptive attack was run at L∞, eps 8/255")


def changed(**parts: Any) -> Callable[[Any], Any]:
    def change(content: Any) -> Any:
        for name, value in parts.items():
            content[name] = {**content[name], **value} if isinstance(value, dict) else value
        return content

    return change


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (
            changed(data={"source": "mnist", "fingerprint": "1f"})(made()),
            "40 mnist test images, this one on 40",
        ),
        (
            changed(data={"n": 41, "fingerprint": None})(made()),
            "41 digits test images, this one on 40 digits",
        ),
        (changed(labels=[3] * N, data={"fingerprint": "1f"})(made()), "the labels differ"),
        (changed(labels=[3] * N, data={"fingerprint": None})(made()), "the labels differ"),
        (changed(data={"fingerprint": "1f"})(made()), "the pixels differ"),
        (made(sizes=(4 / 255, 2 / 255)), "at L∞, eps 4/255 and 2/255, this one at L∞, eps 8/255"),
        (made(norm="l2", sizes=(0.5,)), "at L2, eps 0.5, this one at L∞"),
        (changed(cells=made()["cells"][-2:])(made()), "without an eps bound"),
    ],
)
def test_what_differs_is_named(other: Any, message: str) -> None:
    with pytest.raises(InputError, match=f"^beside x: .*{message}"):
        Comparison.of("own", evaluation(made()), {"x": evaluation(other)})


def test_the_same_images_may_have_another_name() -> None:
    other = changed(data={"source": "tensors", "split": "given"})(made())
    assert len(Comparison.of("own", evaluation(made()), {"x": evaluation(other)}).models) == 3


def test_without_a_budget_there_is_nothing_to_compare() -> None:
    own = evaluation(changed(cells=made()["cells"][-2:])(made()))
    with pytest.raises(InputError, match="no attack with an eps bound"):
        Comparison.of("own", own, {"x": evaluation(made())})


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    for name in ("paper", "lr=0.1", "other/paper", "own"):
        evaluation(made()).save(tmp_path / name / "evaluation.json")
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "evaluation.json").write_text('{"schema": 1')
    (tmp_path / "file").write_text("")
    return tmp_path


def test_folders_are_named(folders: Path) -> None:
    specs = [str(folders / "paper"), f"again={folders / 'other' / 'paper'}", str(folders / "lr=0.1")]
    found = read_beside(specs, name="own", folder=folders / "own")
    assert list(found) == ["paper", "again", "lr=0.1"]
    assert all(each == evaluation(made()) for each in found.values())
    assert read_beside([], name="own", folder=None) == {}


@pytest.mark.parametrize(
    ("specs", "message"),
    [
        (["{}/nowhere"], "nowhere: no such folder"),
        (["x={}/nowhere"], "nowhere: no such folder"),
        (["{}/file"], "file: a file; give the folder"),
        (["{}/empty"], "evaluation.json: no such file; --beside takes"),
        (["{}/broken"], "evaluation.json: not JSON"),
        (["{}/own"], "own: is the folder of this report itself"),
        (["x={}/paper/../own"], "own: is the folder of this report itself"),
        (["{}/paper", "{}/other/paper"], "the name 'paper' is taken by another folder; write OTHER="),
        (["own={}/paper"], "the name 'own' is taken by this report; write OTHER="),
    ],
)
def test_a_folder_that_is_none_is_refused(folders: Path, specs: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message) as refused:
        read_beside([spec.format(folders) for spec in specs], name="own", folder=folders / "own")
    assert "\n" not in str(refused.value)
