"""The doctor finds neurons that compute something else, and says what a bug report should."""

import sys
import tomllib
from functools import partial
from pathlib import Path

import pytest
import torch

from purespike import cli
from purespike.doctor import check_kernels, describe_extras, describe_machine, describe_versions, self_check
from purespike.importing import EXTRAS
from purespike.neurons import ATan, MultiLevelFiring, multi_level_firing


@pytest.fixture(autouse=True)
def _eager(monkeypatch):
    monkeypatch.setenv("PURESPIKE_COMPILE", "0")


def run(monkeypatch, capsys, *arguments):
    monkeypatch.setattr(sys, "argv", ["purespike", "doctor", "--device", "cpu", *arguments])
    with pytest.raises(SystemExit) as left:
        cli.main()
    return left.value.code or 0, capsys.readouterr()


def test_sound_kernels_pass():
    checks = check_kernels()
    assert len(checks) == 4 and all(check.passed and check.forward == 0 for check in checks)
    assert {check.name.split(", ")[0] for check in checks} == {"multi-level firing", "batch norm and firing"}


def test_the_float64_loop_is_right_by_autograd():
    draw = torch.Generator().manual_seed(3)
    current = torch.randn((8, 3, 2, 2), generator=draw, dtype=torch.float64).requires_grad_()
    weights = torch.randn(current.shape, generator=draw, dtype=torch.float64)
    # eight rows are four steps of two images
    folded = current.view(4, 2, 3, 2, 2)
    spikes = multi_level_firing(folded, thresholds=self_check.THRESHOLDS, surrogate=ATan(self_check.ALPHA))
    (gradient,) = torch.autograd.grad(spikes, current, weights.view(folded.shape))
    expected = self_check._expected(current.detach(), weights, (1.0, 0.0))
    assert torch.equal(spikes.view(current.shape), expected[0])
    torch.testing.assert_close(gradient, expected[1], atol=1e-12, rtol=1e-12)


@pytest.mark.parametrize(
    ("wrong", "part"),
    [
        (lambda *a, **k: MultiLevelFiring((0.7, *a[0][1:]), *a[1:], **k), "forward"),
        (lambda *a, **k: MultiLevelFiring(a[0], 0.5, *a[2:], **k), "forward"),
        (lambda *a, **k: MultiLevelFiring(*a[:2], ATan(2.1), **k), "backward"),
        (partial(MultiLevelFiring, reset="detached"), "backward"),
    ],
)
def test_a_kernel_that_computes_something_else_fails(wrong, part, monkeypatch):
    monkeypatch.setattr(self_check, "MultiLevelFiring", wrong)
    checks = check_kernels()
    assert checks and not any(check.passed for check in checks)
    for check in checks:
        assert check.forward > 0 if part == "forward" else check.backward > check.limit
        assert str(check).startswith("WRONG")


def test_the_command(monkeypatch, capsys):
    code, said = run(monkeypatch, capsys)
    assert code == 0 and "all 4 checks passed" in said.out and said.err == ""
    for word in (
        "purespike    ",
        "Python",
        "torch 2",
        "CPU",
        "compiler",
        "[onnx]",
        "PURESPIKE_COMPILE=0",
        "bfloat16",
    ):
        assert word in said.out


def test_a_failed_check_is_exit_code_1(monkeypatch, capsys):
    monkeypatch.setattr(self_check, "MultiLevelFiring", partial(MultiLevelFiring, reset="detached"))
    code, said = run(monkeypatch, capsys)
    assert code == 1 and said.err.startswith("purespike: error: 4 of 4 checks failed: multi-level firing")
    assert said.err.count("\n") == 1


def test_extras_are_those_of_the_package():
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))
    declared = project["project"]["optional-dependencies"]
    for extra, packages in EXTRAS.items():
        assert sorted(part.partition(">")[0] for part in declared[extra]) == sorted(packages)


def test_a_missing_extra_is_named(monkeypatch):
    monkeypatch.setitem(EXTRAS, "track", ("no_such_package",))
    (fact,) = [fact for fact in describe_extras() if fact.name == "[track]"]
    assert fact.text == "missing no_such_package: pip install 'purespike[track]'"


def test_a_machine_without_a_compiler(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    facts = {fact.name: fact.text for fact in (*describe_versions(), *describe_machine())}
    assert facts["compiler"].startswith("none found: install g++ or clang++")
