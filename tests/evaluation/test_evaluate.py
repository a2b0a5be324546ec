"""Every number of an evaluation against the same attacks run and judged here, one by one."""

import copy
import itertools
import json

import pytest
import torch
from torch import nn

import purespike
from evaluation.victims import CLASSES, defended, foreign, photographs, plain, spiking
from purespike.attacks import create_attack
from purespike.models import Defended
from purespike.neurons import surrogate_gradient
from purespike.seeding import derive

EPS, SEED, BATCH = 10 / 255, 5, 8
SPECS = {
    "gaussian_noise": {"name": "gaussian_noise", "level": 0.2},
    "fgsm": {"name": "fgsm"},
    "pgd": {"name": "pgd", "steps": 3, "step_size": 5 / 255},
    "cw": {"name": "cw", "steps": 4, "search_steps": 2, "learning_rate": 0.1},
}
BOUNDED = ("fgsm", "pgd")
SURROGATES, LOSSES = ("rectangle(width=1)", "atan(alpha=2)"), ("ce", "margin")
SETTINGS = {
    "attacks": list(SPECS.values()),
    "eps": EPS,
    "surrogates": SURROGATES,
    "losses": LOSSES,
    "batch_size": BATCH,
    "seed": SEED,
    "diagnose": 0,
}


@pytest.fixture(scope="module")
def sample():
    return photographs(20, seed=7)


@pytest.fixture(scope="module")
def result(sample):
    return purespike.evaluate(defended(), sample, threat="all", **SETTINGS)


def chunks(sample):
    return [(start, *(part[start : start + BATCH] for part in sample)) for start in range(0, 20, BATCH)]


def made(name, start, **more):
    """The attack of a chunk, seeded from the run's seed, its name and the chunk's first row."""
    budget = {"eps": EPS} if name in BOUNDED else {}
    settings = {key: value for key, value in SPECS[name].items() if key != "name"}
    return create_attack(name, seed=derive(SEED, name), **settings, **budget, **more)


@torch.no_grad()
def right(model, images, labels):
    return (model(images).argmax(1) == labels).int().tolist()


def either(first, second):
    return torch.tensor([a or b for a, b in zip(first, second, strict=True)], dtype=torch.bool)


def both(first, second):
    return [a * b for a, b in zip(first, second, strict=True)]


def test_the_victim_is_worth_attacking(result):
    """Else all that follows would compare zeros with zeros."""
    clean = result.content["clean"]
    assert clean["undefended"]["accuracy"] > 0.7 and clean["defended"]["accuracy"] > 0.5
    robust = {cell["attack"]: cell["score"]["accuracy"] for cell in result.content["cells"]}
    assert any(0 < accuracy < 0.9 for accuracy in robust.values())
    differ = [
        list(result.cell("fgsm", threat).outcomes) for threat in ("undefended", "oblivious", "adaptive")
    ]
    assert len({tuple(outcomes) for outcomes in differ}) == 3, "the threat models are told apart"


def test_clean_outcomes_are_plain_predictions(result, sample):
    outcomes = result.content["clean_outcomes"]
    assert outcomes["undefended"] == right(spiking(), *sample)
    assert outcomes["defended"] == right(defended(), *sample)


@pytest.mark.parametrize("name", SPECS)
def test_undefended_and_oblivious_are_one_attack_on_the_classifier_alone(result, sample, name):
    model = defended()
    undefended, oblivious, distances = [], [], []
    for start, images, labels in chunks(sample):
        # an image that is wrong for both when clean is left alone by all but noise
        attacked = images.clone()
        rows = either(right(model.classifier, images, labels), right(model, images, labels))
        rows |= name == "gaussian_noise"
        attacked[rows] = made(name, start)(model.classifier, images[rows], labels[rows]).images
        distances += (attacked - images).flatten(1).norm(dim=1).tolist()
        undefended += right(model.classifier, attacked, labels)
        with torch.no_grad():
            oblivious += right(model.classifier, model.purify(attacked), labels)
    if name != "gaussian_noise":
        undefended = both(undefended, right(model.classifier, *sample))
        oblivious = both(oblivious, right(model, *sample))
    assert list(result.cell(name, "undefended").outcomes) == undefended
    assert list(result.cell(name, "oblivious").outcomes) == oblivious
    assert result.cell(name, "oblivious").mean_l2 == pytest.approx(sum(distances) / 20, rel=1e-5)


class StraightThrough(nn.Module):
    """BPDA in one line: forward purified, backward as if nothing had happened."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, images):
        return self.model.classifier(images + (self.model.purify(images) - images).detach())


def test_bpda_takes_the_purifier_for_the_identity(result, sample):
    model = defended()
    for name in BOUNDED:
        expected = []
        for start, images, labels in chunks(sample):
            attack = made(name, start, stop_early=True)
            # rounding in x + (p - x) may move an image across a boundary: judge on the model itself
            rows = torch.tensor(right(model, images, labels), dtype=torch.bool)
            attacked = images.clone()
            attacked[rows] = attack(StraightThrough(model), images[rows], labels[rows]).images
            expected += right(model, attacked, labels)
        expected = both(expected, right(model, *sample))
        found = list(result.cell(name, "bpda").outcomes)
        assert sum(a != b for a, b in zip(found, expected, strict=True)) <= 1


def test_adaptive_is_the_worst_of_all_surrogates_and_losses(result, sample):
    model = defended()
    for name in BOUNDED:
        standing = right(model, *sample)
        attempts = {}
        for start, images, labels in chunks(sample):
            # what is wrong when clean has fallen already
            rows = [row for row in range(len(images)) if standing[start + row]]
            # the neurons are trained with an attached reset: the other one comes last
            for reset, surrogate in itertools.product((None, "detached"), SURROGATES):
                for loss in LOSSES:
                    if not rows:
                        break
                    with surrogate_gradient(model, surrogate, reset=reset):
                        attack = made(name, start, stop_early=True, loss=loss)
                        attacked = attack(model, images[rows], labels[rows]).images
                    fallen = [
                        row
                        for row, ok in zip(rows, right(model, attacked, labels[rows]), strict=True)
                        if not ok
                    ]
                    route = surrogate, reset, loss
                    tried, broken = attempts.get(route, (0, 0))
                    attempts[route] = (tried + len(rows), broken + len(fallen))
                    for row in fallen:
                        standing[start + row] = 0
                        rows.remove(row)
        cell = result.cell(name, "adaptive")
        assert list(cell.outcomes) == standing
        found = {(c.surrogate, c.reset, c.loss): (c.attacked, c.broken) for c in cell.components}
        assert found == attempts


def test_components_add_up(result):
    for cell in result.content["cells"]:
        if cell["threat"] not in ("adaptive", "bpda"):
            assert cell["components"] == []
            continue
        attempts = cell["components"]
        # each attempt meets what all former ones left standing, the first what is right when clean
        left = sum(result.content["clean_outcomes"]["defended"])
        assert attempts[0]["attacked"] == left
        assert sum(attempt["broken"] for attempt in attempts) == left - sum(cell["outcomes"])
        for attempt in attempts:
            assert attempt["attacked"] == left
            left -= attempt["broken"]


def test_what_stands_attacked_stood_clean(result):
    clean = result.content["clean_outcomes"]
    for cell in result.content["cells"]:
        if cell["norm"] != "noise":
            before = clean["undefended" if cell["threat"] == "undefended" else "defended"]
            assert all(a <= b for a, b in zip(cell["outcomes"], before, strict=True))


def test_the_worst_case_is_what_stands_under_every_bounded_attack(result):
    rows = {(row["eps"], row["threat"]): row["score"] for row in result.content["worst_case"]}
    assert rows.keys() == {(EPS, threat) for threat in ("undefended", "oblivious", "bpda", "adaptive")}
    for (_, threat), score in rows.items():
        standing = both(*(list(result.cell(name, threat).outcomes) for name in BOUNDED))
        assert score["correct"] == sum(standing) and score["n"] == 20


def test_scores_count_their_outcomes(result):
    for cell in result.content["cells"]:
        score, outcomes = cell["score"], cell["outcomes"]
        assert set(outcomes) <= {0, 1} and len(outcomes) == score["n"] == 20
        assert score["correct"] == sum(outcomes) and score["accuracy"] == sum(outcomes) / 20
        assert result.accuracy(cell["attack"], cell["threat"]) == score["accuracy"]


def test_noise_is_no_attacker(result):
    """It knows no model: only the classifier alone and the oblivious case make sense."""
    threats = {c["threat"] for c in result.content["cells"] if c["attack"] == "gaussian_noise"}
    assert threats == {"undefended", "oblivious"}
    assert all(
        cell["eps"] is None for cell in result.content["cells"] if cell["attack"] in ("gaussian_noise", "cw")
    )


QUICK = {
    "attacks": ["gaussian_noise", SPECS["pgd"]],
    "eps": EPS,
    "batch_size": BATCH,
    "threat": "all",
    "diagnose": 0,
}


def test_the_same_seed_finds_the_same_whatever_was_drawn_before(sample):
    first = purespike.evaluate(defended(), sample, seed=1, **QUICK)
    torch.manual_seed(123)
    torch.rand(7)
    assert plain(purespike.evaluate(defended(), sample, seed=1, **QUICK)) == plain(first)


def test_other_attacks_in_the_table_change_nothing(sample):
    alone = purespike.evaluate(defended(), sample, **{**QUICK, "attacks": [SPECS["pgd"]]})
    among = purespike.evaluate(defended(), sample, **QUICK)
    for threat in ("undefended", "oblivious", "bpda", "adaptive"):
        assert list(alone.cell("pgd", threat).outcomes) == list(among.cell("pgd", threat).outcomes)


def test_a_model_without_purifier(sample):
    found = purespike.evaluate(spiking(), sample, **QUICK)
    assert found.content["clean"]["defended"] is None and found.content["model"]["purifier"] is None
    assert {cell["threat"] for cell in found.content["cells"]} == {"undefended", "adaptive"}
    assert found.content["quality"] == []


def test_a_foreign_module_alone_and_behind_the_purifier(sample):
    alone = purespike.evaluate(foreign(), sample, **QUICK)
    assert alone.content["model"]["classifier"]["architecture"] == "Sequential"
    assert {c.surrogate for c in alone.cell("pgd", "adaptive").components} == {"own"}
    behind = purespike.evaluate(defended(foreign), sample, **QUICK)
    cells = (list(evaluation.cell("pgd", "undefended").outcomes) for evaluation in (alone, behind))
    assert len({tuple(outcomes) for outcomes in cells}) == 1, "the classifier alone is the same victim"


def test_a_foreign_module_with_a_config_of_its_own(sample):
    class Strange(nn.Sequential):
        config = object()

    model = Strange(*foreign())
    found = purespike.evaluate(model, sample, attacks=["fgsm"], threat="undefended", eps=EPS)
    assert found.content["model"]["classifier"]["architecture"] == "Strange"


def test_a_purifier_that_is_the_identity_changes_nothing(sample):
    found = purespike.evaluate(Defended(nn.Identity(), spiking()), sample, **QUICK)
    outcomes = {t: list(found.cell("pgd", t).outcomes) for t in ("undefended", "oblivious")}
    assert outcomes["undefended"] == outcomes["oblivious"]
    clean = next(row for row in found.content["quality"] if row["images"] == "clean, purified")
    assert (clean["psnr"], clean["ssim"]) == (100.0, pytest.approx(1.0))


def test_the_model_is_left_as_it_was(sample):
    model = copy.deepcopy(defended())
    model.classifier.readout.bias.requires_grad_(False)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    learnable = [parameter.requires_grad for parameter in model.parameters()]
    substitute = foreign().train()
    # partly in training mode, as a caller may have it
    model.train()
    model.purifier.denoiser.eval()
    modes = [module.training for each in (model, substitute) for module in each.modules()]
    assert len(set(modes)) == 2
    more = {**QUICK, "threat": ["adaptive", "transfer"], "substitutes": {"other": substitute}}
    purespike.evaluate(model, sample, **more)
    assert [module.training for each in (model, substitute) for module in each.modules()] == modes
    substitute.eval()
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert [parameter.requires_grad for parameter in model.parameters()] == learnable
    assert all(parameter.grad is None for parameter in model.parameters())


def test_the_curve_shares_its_point_with_the_table(sample):
    found = purespike.evaluate(
        spiking(),
        sample,
        attacks=["fgsm"],
        eps=EPS,
        curve="fgsm",
        curve_eps=[EPS, EPS / 2],
        threat="undefended",
    )
    assert [cell["eps"] for cell in found.content["cells"]] == [EPS, pytest.approx(EPS / 2)]
    assert [row["eps"] for row in found.content["worst_case"]] == [EPS], "the table's budgets only"


def test_a_stronger_threat_list_adds_undefended_to_oblivious_only():
    from purespike.evaluation.threat import select_threats

    assert select_threats("oblivious", defended()) == ["undefended", "oblivious"]
    assert select_threats(["adaptive", "bpda"], defended()) == ["bpda", "adaptive"]
    assert select_threats("all", spiking()) == ["undefended", "adaptive", "seed_known"]
    assert select_threats(["all"], spiking()) == ["undefended", "adaptive", "seed_known"]


def test_the_file_is_strict_json_and_tells_where_it_comes_from(result, tmp_path):
    def refuse(word):
        raise AssertionError(f"{word} is no JSON")

    result.save(tmp_path / "evaluation.json")
    content = json.loads((tmp_path / "evaluation.json").read_text(), parse_constant=refuse)
    assert content["schema"] == 1 and content["seed"] == SEED and content["data"]["n"] == 20
    assert {"command", "commit", "seed", "hardware", "versions", "date"} <= content["provenance"].keys()
    assert content["settings"]["surrogates"] == list(SURROGATES)
    assert content["model"]["classifier"]["architecture"] == "resnet14_snn"
    for part, module in (("classifier", spiking()), ("purifier", defended().purifier)):
        assert content["model"][part]["parameters"] == sum(p.numel() for p in module.parameters())
    assert content["model"]["classifier"]["num_classes"] == CLASSES


def test_forwards_and_backwards_are_counted(sample):
    """FGSM is one backward per image, and looks at it before and after; at what is wrong already, never."""
    cell = purespike.evaluate(
        spiking(), sample, attacks=["fgsm"], eps=EPS, threat="undefended", batch_size=BATCH
    ).cell("fgsm", "undefended")
    attacked = sum(right(spiking(), *sample))
    assert 10 < attacked < 20
    assert (cell.forwards, cell.backwards) == (2 * attacked, attacked)


def test_where_nothing_is_right_nothing_is_attacked(sample):
    images, _ = sample
    wrong = (spiking()(images).argmax(1) + 1) % 4
    found = purespike.evaluate(spiking(), (images, wrong), attacks=["fgsm", "cw"], eps=EPS, threat="all")
    assert [cell["score"]["correct"] for cell in found.content["cells"]] == [0] * 4
    assert {(cell["forwards"], cell["mean_l2"]) for cell in found.content["cells"]} == {(0, 0.0)}
