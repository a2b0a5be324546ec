"""The peers' table on a scale that takes seconds."""

import json
import shutil

import pytest
import yaml
from typer.testing import CliRunner

from purespike.checks import as_float
from purespike.cli import app
from purespike.errors import InputError
from purespike.models import Defended
from purespike.rejection import Gated
from purespike.reproduction import SCALES, load_scale, reproduce
from purespike.reproduction.context import ExperimentContext
from purespike.reproduction.experiments.peers import (
    BUDGET,
    COLUMNS,
    FGSM,
    OWN,
    PGD,
    as_row,
    judged,
)
from purespike.reproduction.hardest import APGD, QUERY, WHITE_BOX, WORST, Survivors
from purespike.reproduction.peer_models import on_one_network, peer_model, row_settings, training_eps
from purespike.reproduction.rivals import Peer
from purespike.reproduction.row import CLEAN
from purespike.reproduction.sheet import Sheet, SheetCell, SheetRow
from purespike.training.engine import accelerator
from reproduction.tiny import TINY


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("peers")


@pytest.fixture(scope="module")
def context(folder):
    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump(TINY, sort_keys=False))
    return ExperimentContext(load_scale(str(path)), folder / "out", accelerator(device="cpu"))


@pytest.fixture(scope="module")
def made(context):
    return reproduce("peers", context, origin={"name": "tiny"})


@pytest.fixture(scope="module")
def rows(made):
    content = json.loads((made / "result.json").read_text(encoding="utf-8"))
    return {row["method"]: row for row in content["rows"]}


def value(row, title):
    return next(cell["mean"] for key, cell in row["cells"].items() if key.startswith(title))


def test_no_row_is_left_out(rows):
    assert list(rows) == [
        "plain",
        "PGD-AT",
        "SNN-RAT",
        "SNN-RAT, L∞ 8/255",
        "Poisson",
        "diverged",
        "PGD-AT, purifier",
        "joint detection",
    ]


def test_every_measured_row_meets_every_attacker(rows):
    for name, row in rows.items():
        if row["origin"] != "measured":
            continue
        keys = {key.partition("|")[0] for key in row["cells"]}
        expected = {column.title for column in COLUMNS}
        expected -= {"Transfer"} if name == "PGD-AT" else set()
        expected -= {"training eps"} if name in ("plain", "Poisson") else set()
        assert keys == expected, name
        worst = value(row, "Worst of all")
        shares = [cell["mean"] for key, cell in row["cells"].items() if cell["threat"]]
        assert worst <= min(shares)
        assert value(row, "gap") == pytest.approx(100 * (value(row, "PGD-7") - worst))


def test_the_budget_and_the_passes_of_training_are_told(rows):
    assert value(rows["PGD-AT"], "training eps") == pytest.approx(16)
    assert value(rows["SNN-RAT"], "training eps") == pytest.approx(2)
    # 64 images, three passes each: three epochs, or one of PGD-2 and the step
    for name in ("plain", "PGD-AT", "SNN-RAT", "Poisson"):
        assert value(rows[name], "passes") == pytest.approx(3 * 0.064)
    assert value(rows["PGD-AT, purifier"], "passes") == pytest.approx(6 * 0.064)


def test_the_table_tells_how_many_images_were_attacked(made, rows):
    assert rows
    assert "8 test images attacked" in (made / "table.md").read_text(encoding="utf-8")


def test_no_row_objects_that_its_subset_is_easier_than_the_whole(rows):
    for row in rows.values():
        assert "cannot raise accuracy" not in row.get("remark", "")


def test_stochastic_rows_say_so(rows):
    assert "stochastic" in rows["Poisson"]["remark"]
    assert "stochastic" not in rows["plain"].get("remark", "")


def test_a_peer_that_failed_is_a_row_that_says_why(rows, made):
    assert rows["diverged"]["origin"] == "failed"
    assert "diverged" in rows["diverged"]["reason"]
    table = (made / "table.md").read_text(encoding="utf-8")
    assert "diverged failed: classifier: training diverged" in table


def test_quoted_numbers_are_marked_and_never_measured(rows, made):
    quoted = rows["SNN-RAT, L∞ 8/255"]
    assert quoted["origin"] == "quoted" and value(quoted, "FGSM") == pytest.approx(0.4523)
    assert "*SNN-RAT, L∞ 8/255 (quoted)*" in (made / "table.md").read_text(encoding="utf-8")
    assert "SNN-RAT" in (made / "table.tex").read_text(encoding="utf-8")
    assert (made / "figure.png").stat().st_size > 10_000


def test_all_rows_share_the_network_of_the_table(context, rows):
    assert rows
    for name in ("plain", "PGD-AT", "Poisson"):
        place = context.folder / "peers" / "models" / "mnist" / name / "seed0" / "recipe.yaml"
        assert yaml.safe_load(place.read_text())["classifier"]["thresholds"] == [0.6]


def test_the_purifier_stands_before_the_classifier_of_the_row_it_names(context, rows):
    assert rows
    models = context.folder / "peers" / "models" / "mnist"
    adopted = models / "PGD-AT-purifier" / "seed0" / "classifier.safetensors"
    from purespike import load

    mine, its = load(adopted), load(models / "PGD-AT" / "seed0" / "classifier.safetensors")
    assert not isinstance(mine, Defended)
    for one, other in zip(mine.parameters(), its.parameters(), strict=True):
        assert one.equal(other)


def test_joint_detection_is_another_rows_purifier_behind_a_gate(context, rows):
    assert not (context.folder / "peers" / "models" / "mnist" / "joint-detection").exists()
    gated, its = (rows[name] for name in ("joint detection", "PGD-AT, purifier"))
    for title in ("passes", "training eps"):
        assert value(gated, title) == value(its, title)
    # the gate is one more part: neither of its branches is left to hope
    inner = on_one_network(context, context.scale.peers)
    model = peer_model(inner, context.scale.peers, "joint detection", 0)
    assert isinstance(model, Gated) and not model.training
    data = context.data("mnist")
    flagged = model.flagged(as_float(data.train.take(32, seed=0).images))
    assert flagged.sum() == 8


def test_joint_detection_meets_attacks_on_both_branches(context, rows):
    """What breaks one branch alone, and is on it, is no longer robust in the white box."""
    inner = on_one_network(context, context.scale.peers)
    model = peer_model(inner, context.scale.peers, "joint detection", 0)
    left = Survivors(inner, "mnist", model, eps="16/255", seed=0)
    whole = left.meet([{"name": "fgsm"}], "adaptive", surrogates=["rectangle(width=1)"])
    branches = left.meet_gate([{"name": "fgsm"}], ["rectangle(width=1)"])
    assert branches.shape == whole.shape == (8,)
    assert (left.robust == (whole & branches)).all()
    assert value(rows["joint detection"], "White box") <= branches.mean()


def test_some_rows_alone(context, rows):
    assert rows
    chosen = ExperimentContext(context.scale, context.folder, context.accelerator, rows=["plain"])
    chosen.folder = context.folder
    sheet = Sheet.read(reproduce("peers", chosen, origin={"name": "tiny"}) / "result.json")
    # what the folder knows already stays in its table
    assert [row.method for row in sheet.rows if row.origin == "measured"] == [
        name for name, row in rows.items() if row["origin"] == "measured"
    ]
    with pytest.raises(InputError, match="unknown row 'plan': did you mean 'plain'"):
        other = ExperimentContext(context.scale, context.folder, context.accelerator, rows=["plan"])
        reproduce("peers", other, origin={})


@pytest.mark.parametrize("held", ["rows", "result.json"])
def test_a_finished_row_is_kept_by_itself(context, rows, tmp_path, held):
    """Without the models and chunks that it was made of: in a file, or in the table that a folder holds."""
    kept, folder = context.folder / "peers" / held, tmp_path / "peers" / held
    folder.parent.mkdir()
    (shutil.copytree if kept.is_dir() else shutil.copy)(kept, folder)
    if held == "rows":
        assert {path.stem for path in folder.iterdir()} >= {"plain", "PGD-AT"}
    for _ in range(2):
        chosen = ExperimentContext(context.scale, tmp_path, context.accelerator, rows=["plain"])
        found = Sheet.read(reproduce("peers", chosen, origin={"name": "tiny"}) / "result.json").rows
        # one that failed is in the table alone
        known = {name: row for name, row in rows.items() if held != "rows" or row["origin"] != "failed"}
        assert {row.method: row.to_json()["cells"] for row in found} == {
            name: row["cells"] for name, row in known.items()
        }
        assert {row.method: (row.origin, row.remark, row.reason) for row in found} == {
            name: (row["origin"], row.get("remark", ""), row.get("reason", "")) for name, row in known.items()
        }
    assert not (tmp_path / "peers" / "models").exists()


@pytest.mark.parametrize("damage", ["settings", "file"])
def test_a_row_of_other_settings_or_a_damaged_one_is_measured_again(context, rows, tmp_path, damage):
    assert rows
    kept = tmp_path / "peers" / "rows" / "plain.json"
    shutil.copytree(context.folder / "peers" / "rows", kept.parent)
    text = kept.read_text(encoding="utf-8")
    kept.write_text(text[:-9] if damage == "file" else text.replace('"decided_by": "', '"decided_by": "0'))
    chosen = ExperimentContext(context.scale, tmp_path, context.accelerator, rows=["plain"])
    row, *_ = Sheet.read(reproduce("peers", chosen, origin={"name": "tiny"}) / "result.json").rows
    assert row.method == "plain"
    assert (tmp_path / "peers" / "models").exists() and row.to_json()["cells"] == rows["plain"]["cells"]


def test_a_row_that_failed_is_tried_again_when_it_is_asked_for(context, rows, tmp_path, monkeypatch):
    assert rows["diverged"]["decided_by"]
    (tmp_path / "peers").mkdir()
    shutil.copy(context.folder / "peers" / "result.json", tmp_path / "peers")
    tried = []

    def again(context, table, name, title):
        tried.append(name)
        return SheetRow(group=title, method=name, origin="measured", cells={})

    monkeypatch.setattr("purespike.reproduction.experiments.peers._row", again)
    for name, origin in (("plain", "failed"), ("diverged", "measured")):
        chosen = ExperimentContext(context.scale, tmp_path, context.accelerator, rows=[name])
        sheet = Sheet.read(reproduce("peers", chosen, origin={"name": "tiny"}) / "result.json")
        assert {row.method: row.origin for row in sheet.rows}["diverged"] == origin
    assert tried == ["diverged"]


def test_a_row_alone_trains_no_other(context, tmp_path):
    chosen = ExperimentContext(context.scale, tmp_path, context.accelerator, rows=["PGD-AT"])
    sheet = Sheet.read(reproduce("peers", chosen, origin={"name": "tiny"}) / "result.json")
    assert [row.origin for row in sheet.rows] == ["measured"]
    assert [path.name for path in (tmp_path / "peers" / "models" / "mnist").iterdir()] == ["PGD-AT"]


def measured(numbers, remark="", **further):
    """A row of 40 images with these accuracies by column."""
    cells = {column: SheetCell.of([value], n=40) for column, value in numbers.items()}
    about = {"remark": remark} if remark else {}
    return SheetRow(
        group="a", method="b", origin="measured", cells={**cells, **further.get("cells", {})}, **about
    )


def test_a_smaller_training_budget_is_an_objection():
    """The rules see the budget that a row was trained with."""
    cell = dict.fromkeys((FGSM, PGD, WHITE_BOX, APGD, QUERY), 0.55)
    given = measured(cell, cells={BUDGET: SheetCell.of([2.0])})
    row = as_row(given, load_scale("cpu").peers, stochastic=False)
    assert row.training_eps == pytest.approx(2 / 255) and row.training == "adversarial" and row.images == 40
    assert "trained on a smaller budget" in judged(given, load_scale("cpu").peers).remark


def test_a_large_gap_is_told_and_said_anew_in_every_table():
    """Of a stochastic row against its lowest column, since the draws of all attacks add up in the worst."""
    table = load_scale("cpu").peers

    def told(worst, remark="", white_box=None):
        # of 100 images a query attack never leaves less than gradients do
        numbers = {CLEAN: 0.5, FGSM: 0.35, PGD: 0.25, WHITE_BOX: white_box or worst, QUERY: 0.4, WORST: worst}
        return judged(measured(numbers, remark), table).remark

    assert "masked: PGD" not in told(0.2) and told(0.15).endswith("masked: PGD-7 misses 10 points")
    assert told(0.15, told(0.15)) == told(0.15)
    assert told(0.2, "objections: of rules of yesterday") == told(0.2)
    assert told(0.1, "stochastic", white_box=0.2).startswith("stochastic")
    assert "masked: PGD" not in told(0.1, "stochastic", white_box=0.2)
    assert told(0.1, "stochastic", white_box=0.15).endswith("masked: PGD-7 misses 10 points")


def test_other_precision_is_another_row(context, rows, tmp_path):
    assert rows
    inner = on_one_network(context, context.scale.peers)
    bf16 = on_one_network(
        ExperimentContext(
            context.scale.model_copy(update={"precision": "bf16"}), tmp_path, context.accelerator
        ),
        context.scale.peers,
    )
    table = context.scale.peers
    assert row_settings(inner, table, "plain", OWN) != row_settings(bf16, table, "plain", OWN)


def test_the_settings_of_the_table_are_told(made):
    scale = json.loads((made / "result.json").read_text(encoding="utf-8"))["scale"]
    assert (scale["images"], scale["batch_size"]) == (8, 8)
    assert scale["surrogates"] == ["rectangle", "atan"]


def test_a_table_without_a_choice_of_rows_says_so():
    ended = CliRunner().invoke(app, ["reproduce", "table4", "--rows", "Ours"])
    assert "table4 offers no choice of rows" in str(ended.exception)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sender": "nobody"}, "sender: unknown row 'nobody'"),
        ({"rows": {"a": {"before": "b", "purifier": {}}}}, "before: no row 'b'"),
        ({"rows": {"a": {"purifier": {}}}}, "belong together"),
        ({"rows": {"b": {}, "a": {"before": "b", "purifier": {}, "adversarial": True}}}, "of another row"),
        ({"rows": {"a": {"classifier": {"wdth": 1}}}}, "unknown recipe key 'classifier.wdth'"),
        ({"rows": {"a b": {}, "a-b": {}}}, "would share a folder"),
        (
            {"rows": {"a": {"sweep": {"b": {"wdth": 1}}}}},
            "sweep of a: b: unknown recipe key 'classifier.wdth'",
        ),
        ({"rows": {"a": {"sweep": {"as in the table": {}}}}}, "none 'as in the table'"),
        ({"rows": {"b": {}, "a": {"before": "b", "gate": {}}}}, "no row 'b' with a purifier of its own"),
        ({"rows": {"b": {}, "a": {"before": "b", "purifier": {}, "gate": {}}}}, "name that row in before"),
        ({"rows": {"b": {}, "a": {"before": "b", "gate": {"score": "noise"}}}}, "unknown score 'noise'"),
        ({"rows": None}, "rows: expected a mapping of names to rows"),
        ({"rows": {"a": [1]}}, "rows: expected a mapping of names to rows"),
        ({"overrides": {"plain": 5}}, "overrides: expected a mapping of names to rows"),
        ({"adversarial": {"name": "pgd", "eps": "8/255", "steps": "x"}}, "steps"),
        ({"adversarial": {"name": "pgd", "eps": "8/255", "steps": -1}}, "steps"),
        ({"eps": "x"}, "eps"),
        ({"eps": "0"}, "eps must be positive"),
        ({"hardest": {"white_box": [{"name": "nope"}]}}, "unknown attack 'nope'"),
        ({"hardest": {"white_box": []}}, "white_box"),
        ({"hardest": {"query": [{"queries": 5}]}}, "an attack needs a name"),
        ({"hardest": {"surrogates": []}}, "surrogates"),
        ({"hardest": {"surrogates": ["no"]}}, "no"),
        ({"rows": {"a": {"sweep": {"b +1": {}, "b -1": {}}}}}, "would share a folder"),
        (
            {
                "rows": {
                    "b": {},
                    "p": {"before": "b", "purifier": {}},
                    "a": {"before": "p", "gate": {"coverage": 2}},
                }
            },
            "coverage",
        ),
        ({"rows": {"a": {"published": [{"about": "x", "numbers": {"clean": 300}}]}}}, "clean"),
        ({"dataset": "imagenet"}, "unknown data set of this scale 'imagenet'"),
    ],
)
def test_a_mistake_in_the_table_is_one_line(tmp_path, change, message):
    path = tmp_path / "own.yaml"
    path.write_text(yaml.safe_dump({**TINY, "peers": {**TINY["peers"], "sender": None, **change}}))
    with pytest.raises(InputError, match=message):
        load_scale(str(path))


def test_a_scale_without_peers_says_so(context, tmp_path):
    scale = context.scale.model_copy(update={"peers": None})
    other = ExperimentContext(scale, tmp_path, context.accelerator)
    with pytest.raises(InputError, match="names no peers"):
        reproduce("peers", other, origin={})


def test_the_budget_of_the_papers_purifier_is_that_of_its_attack(context):
    recipe = context.recipe("mnist")
    assert training_eps(recipe, Peer()) is None
    assert training_eps(recipe, Peer(purifier={}, before="plain")) == pytest.approx(16 / 255)


@pytest.mark.parametrize("name", SCALES)
def test_every_row_of_a_packaged_scale_is_a_run(name, tmp_path):
    scale = load_scale(name)
    context = ExperimentContext(scale, tmp_path, accelerator(device="cpu"))
    inner = on_one_network(context, scale.peers)
    for row in scale.peers.rows:
        recipe = inner.run(scale.peers.dataset, row, 0, scale.peers.changes(row)).recipe
        assert recipe.classifier.architecture == scale.peers.network["classifier"]["architecture"]
        assert recipe.classifier.epochs >= 1


def test_the_network_of_the_table_may_use_other_names_than_the_recipe(tmp_path):
    scale = load_scale("cpu")
    old = {**scale.recipes["cifar10"], "classifier": {"weight_decay": 1.0e-4, "milestones": [3]}}
    former = scale.model_copy(update={"recipes": {**scale.recipes, "cifar10": old}})
    inner = on_one_network(ExperimentContext(former, tmp_path, accelerator(device="cpu")), scale.peers)
    assert inner.recipe("cifar10").classifier.optimiser.weight_decay == 5.0e-4
