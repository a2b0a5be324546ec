"""Which attacks are run at which budgets, and with which steps."""

import numpy as np
import pytest
import torch
from torch import nn

import purespike
from purespike import InputError
from purespike.attacks import create_attack
from purespike.evaluation.plan import (
    SUITES,
    Suite,
    applicable,
    averaged,
    parse_budgets,
    passes_of,
    plan_jobs,
    suite,
)
from purespike.neurons import parse_surrogate
from purespike.results import Evaluation


def steps(spec, *budgets, norm="linf"):
    return [job.attack.step_size for job in plan_jobs([spec], budgets, norm=norm)]


def test_steps_that_do_not_cross_the_ball_are_widened():
    twenty = {"name": "pgd", "steps": 20}
    assert steps(twenty, 8 / 255, 40 / 255, 51 / 255) == pytest.approx(
        [2 / 255, 2 / 255, 2.5 * 51 / 255 / 20]
    )
    assert steps({**twenty, "step_size": 1 / 255}, 51 / 255) == pytest.approx([1 / 255]), "as asked for"
    assert steps("fgsm", 51 / 255) == pytest.approx([51 / 255])
    assert steps({**twenty, "steps": 100}, 51 / 255) == pytest.approx([2 / 255])


@pytest.mark.parametrize("name", SUITES)
@pytest.mark.parametrize("norm", ["linf", "l2", "l0"])
def test_every_suite_can_be_planned_in_every_norm(name, norm):
    if (name, norm) == ("table4", "l0"):
        # the paper's attacks know no L0
        assert not suite(name, norm).attacks
        return
    chosen = suite(name, norm)
    jobs = plan_jobs(chosen.attacks, [10, 20] if norm == "l0" else [0.1, 0.5], norm=norm)
    assert {job.norm for job in jobs if job.eps is not None} == {norm}
    assert all(parse_surrogate(surrogate) for surrogate in chosen.surrogates)
    assert all(passes_of(job.attack) >= 1 for job in jobs)
    for job in jobs:
        reach = getattr(job.attack, "step_size", None)
        assert job.eps is None or reach is None or reach * job.attack.steps >= 0.99 * job.eps


def test_each_suite_holds_the_one_before():
    def names(suite):
        return {spec if isinstance(spec, str) else spec["name"] for spec in SUITES[suite].attacks}

    assert names("quick") < names("standard") < names("full")
    assert (
        set(SUITES["quick"].surrogates) <= set(SUITES["standard"].surrogates) < set(SUITES["full"].surrogates)
    )


def test_an_unknown_suite_is_named():
    with pytest.raises(InputError, match="did you mean 'standard'"):
        suite("standart")


def test_gradients_are_averaged_where_nothing_else_was_said():
    plain, asked, search = (plan_jobs([spec], [0.1])[0] for spec in ("pgd", {"name": "pgd", "eot": 3}, "cw"))
    assert averaged(plain, 20).attack.eot == 20 and averaged(plain, 1) == plain
    assert averaged(asked, 20) == asked and averaged(search, 20) == search


@pytest.mark.parametrize(
    ("name", "settings", "expected"),
    [
        ("fgsm", {}, 1),
        ("pgd", {"steps": 20, "restarts": 3, "eot": 2}, 120),
        ("spsa", {"steps": 3, "samples": 10}, 63),
        ("cw", {"steps": 50, "search_steps": 4}, 200),
        ("square", {"queries": 77}, 77),
        ("autoattack", {"steps": 10, "queries": 100}, 10 + 90 + 180 + 100),
        ("gaussian_noise", {}, 1),
    ],
)
def test_the_cost_of_an_attack(name, settings, expected):
    assert passes_of(create_attack(name, **settings)) == expected


@pytest.mark.parametrize("classes", [2, 3, 4])
def test_attacks_of_a_suite_that_cannot_apply_are_left_out_with_a_sentence(classes):
    jobs = plan_jobs(suite("full").attacks, [8 / 255, 16 / 255])
    fit, left_out = applicable(jobs, torch.zeros(1, 3, 8, 8), classes, chosen=False)
    gone = {job.attack.name for job in jobs} - {job.attack.name for job in fit}
    assert gone == ({"apgd_dlr", "autoattack"} if classes < 4 else set())
    assert [line.partition(" is left out: the DLR loss")[0] for line in left_out] == sorted(gone)


def test_an_attack_that_was_named_and_cannot_apply_is_an_error():
    (job,) = plan_jobs(["apgd_dlr"], [0.1])
    with pytest.raises(InputError, match=r"apgd_dlr: the DLR loss .* needs at least 4 classes"):
        applicable([job], torch.zeros(1, 3, 8, 8), 3, chosen=True)
    with pytest.raises(InputError, match="none can be run; apgd_dlr is left out"):
        applicable([job], torch.zeros(1, 3, 8, 8), 3, chosen=False)
    with pytest.raises(InputError, match="name at least one"):
        applicable([], torch.zeros(1, 3, 8, 8), 3, chosen=True)


def test_a_suite_on_three_classes(monkeypatch, capsys):
    monkeypatch.setitem(SUITES, "full", Suite(("fgsm", "apgd_dlr"), learned_bpda=False))
    images = torch.rand((12, 3, 8, 8), generator=torch.Generator().manual_seed(0))
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(192, 3))
    given = {"eps": 0.1, "threat": "undefended", "diagnose": 0}
    found = purespike.evaluate(model, (images, model(images).argmax(1)), suite="full", **given)
    assert [cell.attack for cell in found.cells] == ["fgsm"]
    (sentence,) = found.settings.left_out
    printed = capsys.readouterr().err
    assert printed.index(sentence[:30]) < printed.index("fgsm (")

    def refuse(*_):
        raise AssertionError("attacked")

    monkeypatch.setattr("purespike.evaluation.runner.Runner.attack", refuse)
    with pytest.raises(InputError, match="needs at least 4 classes"):
        labels = model(images).argmax(1)
        purespike.evaluate(model, (images, labels), attacks=["fgsm", "apgd_dlr"], **given)


def test_a_suite_on_two_classes_at_the_shell(monkeypatch, tmp_path, call):
    monkeypatch.setitem(SUITES, "full", Suite(("fgsm", "apgd_dlr"), learned_bpda=False))
    draw = np.random.default_rng(0)
    for split in ("train", "test"):
        pixels = draw.integers(0, 256, (8, 8, 8), dtype=np.uint8)
        np.savez(tmp_path / f"two-{split}.npz", x=pixels, y=np.arange(8) % 2)
    code = "from torch import nn\n\ndef model():\n    return nn.Sequential(nn.Flatten(), nn.Linear(64, 2))\n"
    (tmp_path / "two_classes.py").write_text(code, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    call(
        *("evaluate", "two_classes:model", "--data", "npz:two", "--suite", "full", "--eps", "8/255"),
        *("--threat", "undefended", "--diagnose", "0", "--out", "out"),
    )
    found = Evaluation.read(tmp_path / "out" / "evaluation.json")
    assert [cell.attack for cell in found.cells] == ["fgsm"]
    assert found.settings.left_out[0].startswith("apgd_dlr is left out: the DLR loss")


def test_a_budget_given_twice_is_measured_once():
    assert parse_budgets("8/255, 8/255,0.031372549,16/255") == [8 / 255, 16 / 255]
