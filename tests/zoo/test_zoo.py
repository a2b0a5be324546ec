"""Models that ship: their weights are theirs, their cards are measured, and their names work everywhere."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

import purespike as ps
from purespike.cli import app
from purespike.cli.names import check_models
from purespike.errors import InputError
from purespike.models import Defended, SpikingClassifier
from purespike.models.resolve import model_name, resolve
from purespike.results.vocabulary import THREATS
from purespike.zoo import catalogue, loading
from purespike.zoo import names as zoo_names
from purespike.zoo.catalogue import WEIGHTS

NAMES = ps.zoo.list()
KIBIBYTE = 1024


def test_every_classifier_ships_with_purifiers():
    bases = {name for name in NAMES if not name.endswith(("-paper", "-holding"))}
    assert bases >= {"digits16", "cifar10-small"}
    assert {"digits16-paper", "digits16-holding", "cifar10-small-paper"} <= set(NAMES)
    assert set(NAMES) <= {f"{base}{suffix}" for base in bases for suffix in ("", "-paper", "-holding")}


def test_the_weights_are_small_and_nothing_else_ships():
    assert sum(path.stat().st_size for path in WEIGHTS.iterdir()) < 12 * KIBIBYTE**2
    named = {part.file for name in NAMES for part in ps.zoo.entry(name).parts}
    assert {path.name for path in WEIGHTS.iterdir()} == named


@pytest.mark.parametrize("name", NAMES)
def test_a_shipped_model_answers(name):
    model, entry = ps.zoo.load(name), ps.zoo.entry(name)
    assert isinstance(model, SpikingClassifier if entry.purifier is None else Defended)
    assert not model.training and next(model.parameters()).dtype == torch.float32
    size = {"digits16": (1, 16, 16), "digits": (3, 32, 32), "mnist": (1, 28, 28), "cifar10": (3, 32, 32)}
    assert model(torch.rand(2, *size[entry.data])).shape == (2, 10)


@pytest.mark.parametrize("name", NAMES)
def test_a_card_tells_threat_models_intervals_and_origin(name):
    entry, card = ps.zoo.entry(name), ps.zoo.card(name)
    assert set(entry.evaluation["threats"]) <= {
        threat for threat, share in card.robust.items() if share is not None
    }
    assert set(card.robust) <= set(THREATS)
    for key in ("clean_acc", "adaptive_acc", "worst_case"):
        found = card.accuracy(key)
        assert found.low <= found.value <= found.high
    assert card.worst_case <= min(share for key, share in card.robust.items() if key == "adaptive")
    assert card.verdict is not None and card.images == entry.evaluation["images"]
    assert len(card.commit) == len(entry.training.commit) == 40 and not card.dirty
    assert entry.training.recipe["data"]["source"] and card.dataset == entry.data


@pytest.mark.parametrize("name", ["digits16", "digits16-paper", "digits16-holding"])
def test_the_card_s_clean_accuracy_is_found_again(name):
    entry = ps.zoo.entry(name)
    asked = {
        **entry.evaluation,
        "attacks": ["fgsm"],
        "threats": ["adaptive"],
        "surrogates": ["rectangle(width=1)"],
        "diagnose": 0,
    }
    found = ps.evaluate(entry.load(), entry.data, **asked)
    assert 100 * (found.clean.defended or found.clean.undefended).accuracy == pytest.approx(
        ps.zoo.card(name).clean_acc
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", ["digits16", "digits16-paper", "digits16-holding"])
def test_the_card_s_worst_case_is_found_again(name):
    entry = ps.zoo.entry(name)
    # the examination included: it may raise a budget, and the card then tells of the raised one
    found = ps.evaluate(entry.load(), entry.data, **entry.evaluation)
    score = found.worst_score(entry.evaluation["eps"][0], *found.end_to_end_threats)
    assert 100 * score.accuracy == pytest.approx(ps.zoo.card(name).worst_case, abs=1.01)


def test_other_weights_are_one_line(tmp_path, monkeypatch):
    part = ps.zoo.entry("digits16").classifier
    changed = bytearray((WEIGHTS / part.file).read_bytes())
    changed[-1] ^= 1
    (tmp_path / part.file).write_bytes(changed)
    monkeypatch.setattr(loading, "WEIGHTS", tmp_path)
    with pytest.raises(InputError, match=r"its sha256 is .*not .* as shipped; install purespike again"):
        ps.zoo.load("digits16")
    (tmp_path / part.file).unlink()
    with pytest.raises(InputError, match="no such checkpoint"):
        ps.zoo.load("digits16")


def test_unknown_names_are_one_line():
    for ask in (ps.zoo.load, ps.zoo.card, ps.zoo.entry, resolve):
        with pytest.raises(InputError, match="unknown model of the zoo 'digit': did you mean 'digits'"):
            ask("zoo:digit")
    with pytest.raises(InputError, match="zoo:digit: unknown model of the zoo"):
        check_models("zoo:digit")


def test_a_damaged_entry_is_one_line(tmp_path, monkeypatch):
    (tmp_path / "mine.json").write_text(json.dumps({"name": "mine"}))
    monkeypatch.setattr(catalogue, "ENTRIES", tmp_path)
    monkeypatch.setattr(zoo_names, "ENTRIES", tmp_path)
    with pytest.raises(InputError, match=r"mine\.json: malformed entry: .*install purespike again"):
        ps.zoo.entry("mine")


def test_a_model_without_a_card_says_so(monkeypatch):
    bare = ps.zoo.entry("digits16").model_copy(update={"card": None})
    monkeypatch.setattr(loading, "read_entry", lambda name: bare)
    with pytest.raises(InputError, match="has no card yet"):
        ps.zoo.card("digits16")


def test_names_work_wherever_a_model_is_named(tmp_path):
    assert isinstance(resolve("zoo:digits16-holding"), Defended)
    assert model_name("zoo:digits16-holding") == "digits16-holding"
    shown = CliRunner().invoke(app, ["info", "zoo:digits16"])
    assert shown.exit_code == 0 and "resnet14_snn" in shown.output
    command = [
        "evaluate",
        "zoo:digits16",
        "--attacks",
        "fgsm",
        "--images",
        "4",
        "--diagnose",
        "0",
        "--eps",
        "1/255",
    ]
    ended = CliRunner().invoke(app, [*command, "--surrogates", "rectangle(width=1)", "--threat", "adaptive"])
    assert ended.exit_code == 0, ended.output
    assert "digits16" in ended.output


def test_the_command_lists_and_shows_them():
    listed = CliRunner().invoke(app, ["zoo"]).output
    assert all(f"zoo:{name}:" in listed for name in NAMES)
    shown = " ".join(CliRunner().invoke(app, ["zoo", "digits16-holding"]).output.split())
    for part in ("sha256", "trained:", "clean accuracy:", "adaptive, L∞ eps 16/255:", "verdict:"):
        assert part in shown
    assert "did you mean 'digits16'" in str(CliRunner().invoke(app, ["zoo", "digit16"]).exception)


def test_names_are_known_without_pytorch():
    code = "import purespike.cli.names, purespike.zoo.names as e, sys; e.entry_names()"
    code += "; assert 'torch' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_the_page_shows_the_cards():
    page = (Path(__file__).parents[2] / "docs" / "zoo.md").read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if line.startswith("| `")]
    assert [row.split("`")[1] for row in rows] == NAMES
    for row, name in zip(rows, NAMES, strict=True):
        card = ps.zoo.card(name)
        assert (
            f"**{card.worst_case:.1f}**" in row
            and f"| {card.clean_acc:.1f} |" in row
            and row.endswith(f"{card.level} |")
        )
