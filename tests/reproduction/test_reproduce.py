"""Experiments on a scale that takes seconds: every data set is the digits."""

import importlib
import json
import re
import shutil

import pytest
import torch
import yaml
from typer.main import get_command
from typer.testing import CliRunner

from purespike.cli.options import app
from purespike.errors import InputError
from purespike.reproduction import EXPERIMENTS, experiment, load_scale, reproduce
from purespike.reproduction.context import ExperimentContext
from purespike.reproduction.draft import Draft
from purespike.reproduction.output import FORMER, document
from purespike.reproduction.registry import check_experiments
from purespike.reproduction.sheet import Column, SheetCell
from purespike.tensors import read_tensors
from purespike.training.engine import accelerator
from reproduction.tiny import TINY

NUMBER = Column("seeds", unit="count")


@pytest.fixture(scope="module")
def context(tmp_path_factory):
    folder = tmp_path_factory.mktemp("reproduction")
    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump(TINY))
    return ExperimentContext(load_scale(str(path)), folder / "out", accelerator(device="cpu"))


def result(context, name):
    folder = reproduce(name, context, origin={"name": "tiny"})
    content = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    return content, (folder / "table.md").read_text(encoding="utf-8"), folder


def test_table1_has_every_k_with_both_attackers_and_the_printed_figures(context):
    content, text, folder = result(context, "table1")
    measured = [row for row in content["rows"] if row["origin"] == "measured"]
    assert [row["method"] for row in measured] == ["K=1", "K=2", "K=3", "K=4"]
    for row in measured:
        assert set(row["cells"]) == {"Clean|", "FGSM|alone", "FGSM|adaptive", "PGD|alone", "PGD|adaptive"}
        assert row["cells"]["FGSM|alone"]["threat"] == "undefended"
        assert row["cells"]["PGD|adaptive"]["mean"] <= row["cells"]["PGD|alone"]["mean"]
        assert row["cells"]["PGD|alone"]["n"] == 4 and row["cells"]["Clean|"]["n"] == 16
    assert "79.11" in text and "45.86" in text and "adaptive" in text
    assert (folder / "figure.png").stat().st_size > 1000
    assert "\\begin{tabular}" in (folder / "table.tex").read_text(encoding="utf-8")
    assert content["provenance"]["seed"] == 0 and content["scale"]["images"] == 4


def test_table3_sends_images_and_names_the_threat_model(context):
    content, _, _ = result(context, "table3")
    rows = {(row["group"], row["method"]): row["cells"] for row in content["rows"]}
    ours = rows["from ResNet20-SNN", "Ours"]
    assert ours["PGD-20|transfer"]["threat"] == "transfer" and ours["PGD-20|adaptive"]["threat"] == "adaptive"
    printed = rows["from ResNet20-SNN", "OLS, paper"]["PGD-20|transfer"]
    assert printed["mean"] == pytest.approx(0.2210) and printed["n"] is None


def test_missing_data_are_named(context, monkeypatch):
    fig5 = importlib.import_module("purespike.reproduction.experiments.fig5")
    short = {title: {**attack, "steps": min(attack["steps"], 2)} for title, attack in fig5.PGD.items()}
    monkeypatch.setattr(fig5, "PGD", short)
    content, text, _ = result(context, "fig5")
    missing = {row["group"] for row in content["rows"] if row["origin"] == "missing"}
    assert missing == {"CIFAR-100", "SVHN"}
    assert "not measured" in text and "59.25" in text
    ours = next(row for row in content["rows"] if row["method"] == "Ours, oblivious")
    assert {cell["threat"] for cell in ours["cells"].values()} == {"oblivious"} and len(ours["cells"]) == 11


def test_fig4_compares_times_of_one_run(context):
    content, _, _ = result(context, "fig4")
    ours, other = content["rows"][:2]
    assert ours["cells"]["over ours|"]["mean"] == 1.0
    total = other["cells"]["to the end|"]["mean"] / ours["cells"]["to the end|"]["mean"]
    assert other["cells"]["over ours|"]["mean"] == pytest.approx(total)
    # measured once: what is kept is read back
    again, _, _ = result(context, "fig4")
    assert again["rows"] == content["rows"]


def test_fig1_shows_the_maps_and_compares_them(context):
    content, text, folder = result(context, "fig1")
    measured = {row["method"]: row["cells"] for row in content["rows"]}
    assert set(measured) == {
        "adversarial, undefended",
        "purified, oblivious",
        "purified, adaptive (own surrogate)",
    }
    for cells in measured.values():
        assert (
            0 <= cells["cosine of the maps|"]["mean"] <= 1 and cells["same class as clean, in %|"]["n"] == 4
        )
    assert "oblivious" in text
    assert (folder / "figure.png").read_bytes().startswith(b"\x89PNG")


def test_a_page_holds_what_was_measured(context):
    _, text, _ = result(context, "table1")
    page = context.folder.parent / "docs" / "page.md"
    page.parent.mkdir()
    page.write_text("# Ours\n<!-- table1 -->\n<!-- /table1 -->\n<!-- table2 -->\n<!-- /table2 -->\nend\n")
    document(context.folder, page)
    filled = page.read_text()
    assert text.strip() in filled and filled.endswith("end\n")
    assert "![table1](../out/table1/figure.png)" in filled
    assert "Not measured yet: `purespike reproduce table2`" in filled
    page.write_text("<!-- tabel1 -->\n<!-- /tabel1 -->\n")
    with pytest.raises(InputError, match="did you mean 'table1'"):
        document(context.folder, page)
    with pytest.raises(InputError, match="no such page"):
        document(context.folder, page.parent / "other.md")


def test_the_ablation_shares_one_classifier(context):
    content, _, _ = result(context, "ablation")
    assert [row["method"] for row in content["rows"]] == ["default (the scale's own)", "half clean"]
    models = context.folder / "models" / "cifar10"
    weights = [
        read_tensors(models / name / "seed0" / "classifier.safetensors")[0]
        for name in ("plain", "ablation-half-clean")
    ]
    assert weights[0].keys() == weights[1].keys()
    assert all(torch.equal(weights[0][name], value) for name, value in weights[1].items())


@pytest.mark.parametrize("kept", ["all", "chunks", "table"])
def test_a_second_call_attacks_nothing(context, monkeypatch, tmp_path, kept):
    """Whatever is left of the first: everything, the chunks of its attacks, the table alone."""
    first, _, folder = result(context, "table1")
    monkeypatch.setattr("purespike.evaluation.runner.attack_chunk", lambda *_, **__: pytest.fail("attacked"))
    if kept == "chunks":
        shutil.rmtree(folder / "rows")
        (folder / "result.json").unlink()
    if kept == "table":
        shutil.copytree(folder, tmp_path / "table1", ignore=shutil.ignore_patterns("rows"))
        context = ExperimentContext(context.scale, tmp_path, context.accelerator)
    second, _, _ = result(context, "table1")
    assert second["rows"] == first["rows"]
    assert kept != "table" or not (tmp_path / "models").exists()


@pytest.mark.parametrize("change", ["scale", "seeds"])
def test_a_row_of_another_measurement_is_measured_again(context, tmp_path, change):
    first, _, folder = result(context, "table1")
    shutil.copytree(folder, tmp_path / "table1")
    scale = context.scale.model_copy(update={"losses": ("margin",)}) if change == "scale" else context.scale
    seeds = 2 if change == "seeds" else 1
    other = ExperimentContext(scale, tmp_path, context.accelerator, seeds=seeds)
    second, _, _ = result(other, "table1")
    assert (tmp_path / "models").exists()
    for row, before in zip(second["rows"], first["rows"], strict=True):
        if row["origin"] == "measured":
            assert row["decided_by"] != before["decided_by"]
            assert all(len(cell["values"]) == seeds for cell in row["cells"].values())


def test_only_some_rows_are_measured(context, tmp_path):
    """The others are known from the folder's table, or said to be missing."""
    first, _, folder = result(context, "table1")
    rows = {row["method"]: row for row in first["rows"] if row["origin"] == "measured"}
    chosen = ExperimentContext(context.scale, tmp_path, context.accelerator, rows=["K=2"])
    content, text, _ = result(chosen, "table1")
    origins = {row["method"]: row["origin"] for row in content["rows"] if row["origin"] != "paper"}
    assert origins == {"K=1": "missing", "K=2": "measured", "K=3": "missing", "K=4": "missing"}
    assert "Not measured: K=1; K=3; K=4 (not among the rows that were asked for)." in text
    assert [path.name for path in (tmp_path / "models" / "mnist").iterdir()] == ["k2"]
    shutil.copy(folder / "result.json", tmp_path / "table1")
    content, _, _ = result(chosen, "table1")
    measured = [row for row in content["rows"] if row["origin"] == "measured"]
    assert {row["method"]: row["cells"] for row in measured} == {
        name: row["cells"] for name, row in rows.items()
    }


def test_measured_rows_that_a_new_table_lacks_are_moved_aside(context, tmp_path, capsys):
    """Here of other seeds; a table that has them all takes the place of the former."""
    _, _, folder = result(context, "table1")
    shutil.copytree(folder, tmp_path / "table1", ignore=shutil.ignore_patterns("rows"))
    before = (folder / "result.json").read_bytes()
    result(ExperimentContext(context.scale, tmp_path, context.accelerator), "table1")
    assert not (tmp_path / "table1" / FORMER).exists()
    other = ExperimentContext(context.scale, tmp_path, context.accelerator, seeds=2, rows=["K=1"])
    result(other, "table1")
    assert json.loads((tmp_path / "table1" / FORMER).read_bytes())["rows"] == json.loads(before)["rows"]
    assert "table1: 3 measured rows of the former table" in capsys.readouterr().err


def test_a_slip_in_a_path_is_no_missing_data(context, tmp_path):
    scale = context.folder.parent / "tiny.yaml"
    arguments = ["--scale", str(scale), "--out", str(tmp_path), "--data", f"mnist=npz:{tmp_path}/typo"]
    ended = CliRunner().invoke(app, ["reproduce", "table1", *arguments])
    assert isinstance(ended.exception, InputError) and "typo" in str(ended.exception)
    assert not (tmp_path / "table1").exists()


@pytest.mark.parametrize("name", ["table1", "table2", "table3", "transfer", "ablation"])
def test_an_unknown_row_is_refused_before_anything_is_trained(context, tmp_path, name):
    other = ExperimentContext(context.scale, tmp_path, context.accelerator, rows=["nobody"])
    with pytest.raises(InputError, match="unknown row 'nobody'"):
        result(other, name)
    assert not (tmp_path / "models").exists()


def test_names():
    assert check_experiments(["all"]) == [name for name, each in EXPERIMENTS.items() if each.printed]
    with pytest.raises(InputError, match="did you mean 'table1'"):
        check_experiments(["tabel1"])


def test_missing_captum_is_said_before_anything_is_trained(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install 'purespike\[explain\]'"):
        check_experiments(["table1", "fig1"])
    assert check_experiments(["table1"]) == ["table1"]


def test_an_experiment_is_one_decorated_function(context, monkeypatch):
    monkeypatch.setattr("purespike.reproduction.registry.EXPERIMENTS", known := dict(EXPERIMENTS))

    @experiment("seeds", order=0)
    def seeds(context):
        draft = Draft("seeds", "Seeds", [NUMBER], kind="bars")
        draft.measured("all", "number", {NUMBER: SheetCell.of([len(context.seeds)])})
        return draft

    assert list(known) == ["seeds", *EXPERIMENTS]
    content, text, folder = result(context, "seeds")
    assert content["rows"][0]["cells"]["seeds|"]["values"] == [1] and "| number | 1 |" in text
    assert (folder / "figure.png").is_file()
    with pytest.raises(ValueError, match="'seeds' is registered twice"):
        experiment("seeds")(seeds)


def test_help_names_every_experiment():
    (argument,) = (p for p in get_command(app).commands["reproduce"].params if p.name == "experiments")
    assert all(re.search(rf"\b{name}[,:]", argument.help) for name in EXPERIMENTS)
