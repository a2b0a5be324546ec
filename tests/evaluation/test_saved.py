"""Adversarial images on disk: bit for bit, in the ball after rounding, and judged again."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import purespike
from evaluation.victims import defended, foreign, photographs
from purespike.errors import InputError
from purespike.evaluation.saved import to_levels


@given(
    st.lists(st.tuples(st.integers(0, 255), st.floats(-1, 1)), min_size=1, max_size=20),
    st.sampled_from([0.5 / 255, 1 / 255, 7.99999 / 255, 8 / 255, 0.03, 16 / 255, 1.0]),
)
def test_rounding_moves_no_pixel_away_from_its_clean_one(pixels, eps):
    levels = torch.tensor([level for level, _ in pixels], dtype=torch.float32)
    clean = (levels / 255).view(1, 1, 1, -1)
    step = torch.tensor([share for _, share in pixels]).view(1, 1, 1, -1) * eps
    adversarial = (clean + step).clamp(0, 1)
    found = to_levels(adversarial, clean, eps)
    assert found.dtype == torch.uint8
    for level, given_, rounded in zip(
        levels.tolist(), adversarial.flatten().tolist(), found.flatten(), strict=True
    ):
        moved, allowed = abs(int(rounded) - level), abs(given_ * 255 - level)
        assert moved <= allowed + 1.1e-4 and moved <= eps * 255 + 1.1e-4
        assert moved > allowed - 1.001 or moved > eps * 255 - 1.001


def test_a_step_of_whole_levels_survives_float32():
    clean = torch.arange(0, 248, dtype=torch.float32).view(1, 1, 1, -1) / 255
    assert torch.equal(
        to_levels(clean + 8 / 255, clean, 8 / 255).long() - (clean * 255).round().long(),
        torch.full_like(clean, 8).long(),
    )


def test_images_that_are_no_pictures_stay_as_near_as_they_can():
    clean = torch.tensor([100.3, 100.3, 100.3]).view(1, 1, 1, 3) / 255
    step = torch.tensor([0.2, 0.9, -0.4]).view(1, 1, 1, 3) / 255
    assert to_levels(clean + step, clean).flatten().tolist() == [100, 101, 100]


SETTINGS = {
    "attacks": [{"name": "pgd", "steps": 3, "step_size": 20 / 255}, "cw:steps=5:search_steps=2"],
    "eps": "40/255",
    "threat": ["undefended", "oblivious", "adaptive"],
    "batch_size": 8,
    "diagnose": 0,
}


def pictures(count):
    images, labels = photographs(count, seed=7)
    return (images * 255).round() / 255, labels


def test_what_is_saved_is_what_was_judged(tmp_path):
    images, labels = pictures(10)
    model = defended(foreign)
    found = purespike.evaluate(model, (images, labels), save=tmp_path / "images", **SETTINGS)
    plainly = purespike.evaluate(model, (images, labels), **SETTINGS)
    assert [cell.outcomes for cell in found.cells] == [cell.outcomes for cell in plainly.cells]
    assert "rounded" not in plainly.to_json()["cells"][0]
    assert {cell.threat for cell in found.cells} == {"undefended", "oblivious", "adaptive"}
    clean = found.clean_outcomes
    for cell in found.cells:
        folder = tmp_path / "images" / cell.threat / cell.bound_key / f"{cell.attack}-{cell.steps}"
        files = [np.load(path) for path in sorted(folder.glob("images-*.npz"))]
        whole = {name: np.concatenate([file[name] for file in files]) for name in files[0].files}
        assert whole["labels"].tolist() == labels.tolist()
        victim = model.classifier if cell.threat == "undefended" else model
        before = getattr(clean, "undefended" if cell.threat == "undefended" else "defended")
        with torch.no_grad():
            right = [int(a) for a in victim(torch.from_numpy(whole["adversarial"])).argmax(1) == labels]
        assert [a & b for a, b in zip(right, before, strict=True)] == list(cell.outcomes)
        # the pictures are the rounded images, in the ball, and their verdicts are those of the cell
        read = np.stack([np.asarray(Image.open(path)) for path in sorted(folder.glob("*.png"))])
        assert np.array_equal(read.transpose(0, 3, 1, 2), whole["rounded"])
        shown = torch.from_numpy(whole["rounded"]).float() / 255
        assert (
            (shown - images).abs() <= (torch.from_numpy(whole["adversarial"]) - images).abs() + 1e-6
        ).all()
        with torch.no_grad():
            right = [int(a) for a in victim(shown).argmax(1) == labels]
        again = [a & b for a, b in zip(right, before, strict=True)]
        assert list(cell.rounded.outcomes) == again
        broken = [i for i in range(10) if before[i] and not cell.outcomes[i]]
        assert (cell.rounded.broken, cell.rounded.survived) == (
            len(broken),
            sum(not again[i] for i in broken),
        )
    assert any(cell.rounded.broken for cell in found.cells)


def test_a_resumed_evaluation_writes_the_same_images(tmp_path, monkeypatch):
    given_ = {**SETTINGS, "threat": ["adaptive"], "folder": tmp_path / "kept"}
    first = purespike.evaluate(foreign(), pictures(10), save=tmp_path / "one", **given_)

    def refuse(*_, **__):
        raise AssertionError("attacked again")

    monkeypatch.setattr("purespike.evaluation.runner.attack_chunk", refuse)
    again = purespike.evaluate(foreign(), pictures(10), save=tmp_path / "two", **given_)
    assert [cell.rounded for cell in again.cells] == [cell.rounded for cell in first.cells]
    names = sorted(path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*.*"))
    assert names and names == sorted(
        path.relative_to(tmp_path / "two") for path in (tmp_path / "two").rglob("*.*")
    )
    for name in names:
        if (tmp_path / "one" / name).suffix == ".png":
            assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_a_folder_forgets_what_an_earlier_evaluation_left(tmp_path):
    for count, size in ((10, 4), (10, 5), (7, 4)):
        purespike.evaluate(
            foreign(),
            pictures(count),
            save=tmp_path,
            **{**SETTINGS, "threat": "undefended", "batch_size": size},
        )
        for folder in {path.parent for path in tmp_path.rglob("images-*.npz")}:
            labels = [len(np.load(path)["labels"]) for path in folder.glob("images-*.npz")]
            assert sum(labels) == count == len(list(folder.glob("*.png")))


def test_two_attacks_of_one_name_steps_and_budget_have_folders_of_their_own(tmp_path):
    attacks = [{"name": "pgd", "steps": 2, "restarts": count} for count in (1, 2, 3)]
    settings = {**SETTINGS, "attacks": attacks, "threat": ["adaptive"], "batch_size": 3}
    found = purespike.evaluate(foreign(), pictures(6), save=tmp_path, **settings)
    for cell, name in zip(found.cells, ("pgd-2", "pgd-2.2", "pgd-2.3"), strict=True):
        folder = tmp_path / "adaptive" / cell.bound_key / name
        attack = json.loads((folder / "attack.json").read_text(encoding="utf-8"))
        assert (attack["restarts"], attack["threat"]) == (cell.settings.restarts, "adaptive")
        files = [np.load(path) for path in sorted(folder.glob("images-*.npz"))]
        assert [int(bit) for file in files for bit in file["robust"]] == list(cell.outcomes)


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "file").write_text("mine", encoding="utf-8")
    with pytest.raises(InputError, match="is a file; name a folder"):
        purespike.evaluate(foreign(), pictures(2), save=tmp_path / "file", **SETTINGS)
    assert (tmp_path / "file").read_text(encoding="utf-8") == "mine"
