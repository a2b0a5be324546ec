"""The matrix of substitutes and targets: what one transfer attack after the other would find."""

import copy
import json
from dataclasses import replace

import pytest
import torch
from torch import nn

import purespike
from evaluation.victims import defended, foreign, photographs, spiking
from purespike.attacks import SignAttack, create_attack
from purespike.attacks.transfer import transfer
from purespike.errors import InputError
from purespike.evaluation.transfer import transfer_matrix
from purespike.reporting.matrix_tables import markdown_matrix
from purespike.results import TransferMatrix
from purespike.seeding import derive

EPS = 10 / 255
ATTACKS = ["fgsm", {"name": "pgd", "steps": 3, "step_size": 5 / 255}]


def substitutes():
    return {"foreign": foreign(), "spiking": spiking()}


def targets():
    return {"spiking": spiking(), "defended": defended()}


@pytest.fixture(scope="module")
def sample():
    return photographs(20, seed=7)


@pytest.fixture(scope="module")
def matrix(sample):
    return transfer_matrix(
        substitutes(), targets(), sample, attacks=ATTACKS, eps=[EPS, 2 * EPS], batch_size=8, seed=5
    )


@pytest.fixture
def calls(monkeypatch):
    """The models attacked, by identity, and how many images each time."""
    made = []
    original = SignAttack.__call__

    def counted(self, model, images, labels):
        made.append((id(model), len(images)))
        return original(self, model, images, labels)

    monkeypatch.setattr(SignAttack, "__call__", counted)
    return made


def plain(matrix):
    content = json.loads(json.dumps(matrix.to_json()))
    content.pop("provenance")
    for cell in content["cells"]:
        cell.pop("seconds")
    return content


def test_every_cell_is_what_one_transfer_attack_finds(sample, matrix):
    images, labels = sample
    for settings in ATTACKS:
        settings = {"name": settings} if isinstance(settings, str) else settings
        for eps in (EPS, 2 * EPS):
            attack = create_attack(**settings, eps=eps)
            for name, substitute in substitutes().items():
                for other, target in targets().items():
                    fallen = []
                    for start in range(0, 20, 8):
                        chunk = slice(start, start + 8)
                        seeded = replace(attack, seed=derive(5, attack.name))
                        found = transfer(substitute, target, images[chunk], labels[chunk], attack=seeded)
                        fallen += found.success.int().tolist()
                    cell = matrix.cell(attack.name, name, other, eps)
                    assert list(cell.outcomes) == [1 - value for value in fallen]
                    assert cell.score.accuracy == matrix.accuracy(attack.name, name, other, eps)
                    assert cell.score.correct == 20 - sum(fallen) and cell.score.n == 20


def test_something_transfers_and_something_does_not(matrix):
    counts = {cell["score"]["correct"] for cell in matrix.content["cells"]}
    assert len(counts) > 2


def test_clean_accuracy_is_plain_prediction(sample, matrix):
    images, labels = sample
    for role, models in (("substitutes", substitutes()), ("targets", targets())):
        for name, model in models.items():
            with torch.no_grad():
                right = (model(images).argmax(1) == labels).int().tolist()
            assert matrix.content["clean_outcomes"][role][name] == right
            assert matrix.content["clean"][role][name]["correct"] == sum(right)


def test_the_diagonal_is_the_white_box_attack(sample, matrix):
    white = [(c["substitute"], c["target"]) for c in matrix.content["cells"] if c["white_box"]]
    assert set(white) == {("spiking", "spiking")}
    evaluation = purespike.evaluate(
        spiking(), sample, attacks=["fgsm"], threat="undefended", eps=EPS, batch_size=8, seed=5, diagnose=0
    )
    # fgsm draws nothing, so that both make the same images
    direct = list(evaluation.cell("fgsm", "undefended").outcomes)
    assert list(matrix.cell("fgsm", "spiking", "spiking", EPS).outcomes) == direct


def test_the_same_model_under_two_names_is_white_box(sample):
    model = spiking()
    found = transfer_matrix(
        {"a": model}, {"b": model, "copy": copy.deepcopy(model)}, sample, attacks=["fgsm"]
    )
    assert [cell["white_box"] for cell in found.content["cells"]] == [True, False]
    assert found.accuracy("fgsm", "a", "b") == found.accuracy("fgsm", "a", "copy")


def test_images_are_made_once_for_all_targets(sample, calls):
    transfer_matrix(substitutes(), targets(), sample, attacks=ATTACKS, eps=EPS, batch_size=8)
    wanted = [(id(model), count) for _ in ATTACKS for model in substitutes().values() for count in (8, 8, 4)]
    assert calls == wanted


def test_finished_chunks_are_read_back(sample, calls, tmp_path):
    settings = {"attacks": ATTACKS, "eps": EPS, "batch_size": 8, "folder": tmp_path}
    first = transfer_matrix(substitutes(), targets(), sample, **settings)
    calls.clear()
    assert (
        transfer_matrix(substitutes(), targets(), sample, **settings).content["cells"]
        == first.content["cells"]
    )
    assert not calls
    written = sorted(tmp_path.glob("*.json"), key=lambda path: path.name)
    written[0].unlink()
    written[1].write_text(written[1].read_text()[:9])
    assert plain(transfer_matrix(substitutes(), targets(), sample, **settings)) == plain(first)
    assert len(calls) <= 2
    kept = transfer_matrix(substitutes(), targets(), sample, attacks=ATTACKS, eps=EPS, batch_size=8)
    assert plain(kept) == plain(first), "a folder changes nothing"


@pytest.mark.parametrize(
    "damage",
    [{"right": []}, {"right": [[2] * 8] * 2}, {"distances": []}, {"forwards": "many"}, {"right": [[1]]}],
    ids=json.dumps,
)
def test_chunks_that_cannot_be_are_computed_again(damage, sample, tmp_path):
    settings = {"attacks": "fgsm", "eps": EPS, "batch_size": 8, "folder": tmp_path}
    first = transfer_matrix(substitutes(), targets(), sample, **settings)
    for path in tmp_path.glob("*.json"):
        path.write_text(json.dumps(json.loads(path.read_text()) | damage))
    assert plain(transfer_matrix(substitutes(), targets(), sample, **settings)) == plain(first)


def changed():
    model = copy.deepcopy(defended())
    with torch.no_grad():
        next(model.purifier.parameters()).mul_(1.001)
    return model


@pytest.mark.parametrize(
    "changes",
    [
        {"seed": 1},
        {"batch_size": 7},
        {"eps": EPS / 2},
        {"images": 19},
        {"targets": {"spiking": spiking(), "defended": changed()}},
        {"substitutes": {"foreign": copy.deepcopy(foreign()).requires_grad_(False).apply(lambda m: m)}},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_chunks_of_another_matrix_are_not_taken_for_this_one(changes, sample, calls, tmp_path):
    settings = {
        "substitutes": {"foreign": foreign()},
        "targets": targets(),
        "attacks": ["fgsm"],
        "eps": EPS,
        "folder": tmp_path,
    }
    transfer_matrix(data=sample, **settings)
    if "substitutes" in changes:
        with torch.no_grad():
            next(changes["substitutes"]["foreign"].parameters()).add_(1e-4)
    calls.clear()
    transfer_matrix(data=sample, **{**settings, **changes})
    assert calls


def test_models_are_left_as_they_were(sample):
    model, target = copy.deepcopy(spiking()).train(), copy.deepcopy(defended()).train()
    before = copy.deepcopy(model.state_dict())
    found = transfer_matrix({"a": model}, {"b": target}, sample, attacks=["fgsm"], eps=EPS)
    assert model.training and target.purifier.training
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    settled = transfer_matrix({"a": spiking()}, {"b": defended()}, sample, attacks=["fgsm"], eps=EPS)
    assert found.content["cells"][0]["outcomes"] == settled.content["cells"][0]["outcomes"]


def test_a_set_by_name_and_the_l2_norm():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(3072, 10))
    found = transfer_matrix({"a": model}, {"b": model}, "digits", attacks=["fgsm"], eps=0.5, images=12)
    assert found.content["data"]["n"] == 12 and found.content["data"]["source"] == "digits"
    ball = transfer_matrix({"a": model}, {"b": model}, "digits", attacks=["pgd"], eps=2, norm="l2", images=12)
    assert ball.content["cells"][0]["mean_l2"] <= 2 + 1e-4 and ball.content["cells"][0]["norm"] == "l2"


def test_shared_training_images_are_counted():
    digits = purespike.data.load_data("digits")
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(3072, 10))
    rows = torch.arange(30)
    trained_on = {
        "own": digits.train.select(rows),
        "stolen": digits.test.select(rows),
        "target": digits.train.select(rows[20:]),
        "stranger": digits.test,
    }
    names = {"own": model, "stolen": model, "unknown": model}
    settings = {"attacks": ["fgsm"], "trained_on": trained_on}
    attacked = digits.test.select(rows[10:])
    found = transfer_matrix(names, {"target": model, "other": model}, attacked, **settings)
    assert found.content["training"] == {
        "own": {"images": 30, "attacked": 0, "targets": {"target": 10}},
        "stolen": {"images": 30, "attacked": 20, "targets": {"target": 0}},
    }
    floats = attacked.to_float(), attacked.labels
    again = transfer_matrix(names, {"target": model}, floats, **settings)
    assert again.content["training"] == found.content["training"]
    assert "own was trained on 30 images: none of them attacked here, 10 of target's." in markdown_matrix(
        found
    )


def test_what_is_saved_reads_back(matrix, tmp_path):
    matrix.save(tmp_path / "transfer.json")
    content = json.loads((tmp_path / "transfer.json").read_text())
    assert TransferMatrix.read(tmp_path / "transfer.json").accuracy(
        "pgd", "foreign", "defended", EPS
    ) == matrix.accuracy("pgd", "foreign", "defended", EPS)
    assert content["provenance"]["seed"] == 5 and content["settings"]["attacks"][-1]["keep"] == "best"


def test_markdown_holds_every_number_with_its_threat_model(matrix):
    text = markdown_matrix(matrix)
    assert "Threat model: transfer" in text and "PGD-3, L∞, eps 10/255" in text
    lines = text.splitlines()
    (first, *_) = [number for number, line in enumerate(lines) if line.startswith("| foreign")]
    cells = [matrix.cell("fgsm", "foreign", name, EPS).score for name in targets()]
    shown = [f"{100 * c.accuracy:.1f} [{100 * c.low:.1f}, {100 * c.high:.1f}]" for c in cells]
    assert lines[first] == f"| foreign | {shown[0]} | {shown[1]} |"
    assert lines[first + 1].startswith("| spiking | *") and lines[first + 1].count("*") == 2
    assert text.count("| none (clean) |") == 4


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"substitutes": {}}, "at least one substitute"),
        ({"targets": {}}, "at least one substitute and one target"),
        ({"attacks": []}, "at least one attack"),
        ({"attacks": ["gaussian_noise"]}, "needs no substitute; leave it out"),
        ({"eps": 2}, "in pixel units"),
        (
            {"substitutes": {"narrow": nn.Conv2d(1, 4, 3)}},
            "substitute 'narrow', target 'a': .*substitute does not fit",
        ),
        ({"targets": {"narrow": nn.Conv2d(1, 4, 3)}}, "target 'narrow': .*the target does not fit"),
    ],
    ids=str,
)
def test_what_cannot_be_is_refused(settings, message, sample):
    given = {"substitutes": {"a": spiking()}, "targets": {"a": spiking()}, **settings}
    with pytest.raises(InputError, match=message):
        transfer_matrix(data=sample, **given)


def test_a_cell_that_was_not_measured_is_named(matrix):
    with pytest.raises(InputError, match="holds no pgd from spiking to foreign at eps 3/255"):
        matrix.cell("pgd", "spiking", "foreign", "3/255")


def test_a_target_whose_logits_are_no_numbers_is_named(sample):
    class Nan(nn.Module):
        def forward(self, images):
            return torch.full((len(images), 4), torch.nan)

    found = transfer_matrix({"foreign": foreign()}, {"nan": Nan()}, sample, attacks=["fgsm"], eps=EPS)
    (cell,) = found.cells
    assert cell.score.correct == 0
    assert "target nan: logits that are not finite count as misclassified" in cell.warnings
