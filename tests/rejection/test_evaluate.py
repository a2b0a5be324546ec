"""Attackers who know the gate win where those who do not are rejected; and every figure is a plain count."""

import itertools
import json

import pytest
import torch
from evaluation.victims import photographs, spiking
from torch import nn

from purespike import evaluate_rejection
from purespike.attacks import create_attack
from purespike.attacks.routes import run_routes
from purespike.errors import InputError
from purespike.models import Defended, Purifier
from purespike.rejection import Gated, Rejecting, Rejection, gate_routes
from purespike.rejection.adversary import ways
from purespike.rejection.findings import _implied
from purespike.results import Score

from .planted import Resetting, Sum, images

EPS = 0.2
SETTINGS = {"attacks": "pgd:steps=20:step_size=0.02", "eps": EPS}


def rejecting(threshold=0.05):
    """The purifier sets the second pixel back; whoever moves both is seen, though the first alone wins."""
    return Rejecting(Defended(Resetting(second=0.40), Sum()), "purification_distance", threshold)


def gated(threshold, purified=0.45):
    """Purified images are of class 0, or 1 if the first pixel is set so; all that is flagged is purified."""
    return Gated(Resetting(purified, 0.40), Sum(), "purification_distance", threshold)


def beatable(model, image, *, steps=41):
    """Whether any point of a grid over the first two pixels within eps is accepted and misclassified."""
    offsets = torch.linspace(-EPS, EPS, steps)
    grid = image.repeat(steps * steps, 1, 1, 1)
    moves = torch.tensor(list(itertools.product(offsets.tolist(), offsets.tolist())))
    grid[:, 0, 0, :] += moves
    with torch.no_grad():
        wrong = model(grid).argmax(1) != 0
        passing = model.accept(grid) if isinstance(model, Rejecting) else torch.ones_like(wrong)
    return bool((wrong & passing).any())


CASES = {
    "rejected unless the gate is known": (rejecting(), 0.0, 1.0),
    "a gate that nobody passes": (rejecting(threshold=-1.0), 0.0, 0.0),
    "just below the threshold": (gated(0.08), 0.0, 1.0),
    "a threshold too low to win below": (gated(0.04), 1.0, 1.0),
    "above the threshold": (gated(0.04, purified=0.9), 0.0, None),
    "both gates": (
        Rejecting(gated(0.08), "purification_distance", 0.07),
        0.0,
        1.0,
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_the_adaptive_attack_wins_exactly_where_a_search_of_the_ball_does(case):
    model, adaptive, oblivious = CASES[case]
    pixels, labels = images()
    found = evaluate_rejection(model, (pixels, labels), slight=0, **SETTINGS)
    won = found.cell("adaptive").won.accuracy
    for image in pixels:
        assert beatable(model, image[None]) == (won == 1)
    assert found.cell("adaptive").robust.accuracy == adaptive
    if oblivious is not None:
        assert found.cell("oblivious").robust.accuracy == oblivious
    if case == "rejected unless the gate is known":
        # who does not know the gate fools the classifier with every image, and is rejected with each
        assert found.cell("oblivious").accepted.correct == 0
        assert found.cell("oblivious").detection.auroc.value == 1
        assert max(found.cell("adaptive").scores) <= model.threshold


def test_the_worst_of_both_branches_counts():
    model, (pixels, labels) = gated(0.08), images()
    attack = create_attack("pgd", eps=EPS, steps=20, step_size=0.02)
    routes = gate_routes(model, attack, surrogates=(), losses=("margin",), unit=0.01)
    names = [route.loss for route in routes]
    assert len(names) == 8 and sum("unpurified" in name for name in names) == 4
    won = {}
    for branch in ("unpurified", "purified"):
        mine = [route for route in routes if f", {branch}," in route.loss]
        result, parts = run_routes(mine, pixels, labels, attack=attack)
        won[branch] = int(result.success.sum())
        assert sum(part.broken for part in parts) == won[branch]
        if branch == "unpurified":
            flags = model.flagged(result.images)
            assert not flags.any() and (model(result.images).argmax(1) != 0).all()
    assert won == {"unpurified": len(labels), "purified": 0}


def test_the_guess_of_an_encoder_is_a_route_of_every_way_that_purifies():
    purifier = Purifier(
        width=1 / 8, time_steps=1, network="encoder_decoder", output="reconstruction", classes=2
    )
    pair = Defended(purifier, Sum())
    attack = create_attack("pgd", eps=EPS, steps=2)
    for model, branches in (
        (Rejecting(pair, "purification_distance", 0.1), [""]),
        (Gated(purifier, Sum(), "purification_distance", 0.1), ["purified"]),
    ):
        routes = gate_routes(model, attack, surrogates=("atan(alpha=2)",), losses=("margin",))
        found = [route.loss for route in routes if route.name == "guess"]
        assert len(found) == 4 and all(branch in name for name in found for branch in branches)
        assert not any("unpurified" in name for name in found)


@pytest.mark.parametrize("kind", [Rejecting, Gated])
def test_a_purifier_with_an_encoder_is_evaluated_to_the_end(kind):
    torch.manual_seed(0)
    network = {"network": "encoder_decoder", "output": "reconstruction", "classes": 4}
    purifier = Purifier(width=1 / 8, time_steps=1, **network)
    classifier = nn.Sequential(nn.Flatten(), nn.Linear(192, 4))
    pixels = torch.rand(6, 3, 8, 8)
    parts = (Defended(purifier, classifier),) if kind is Rejecting else (purifier, classifier)
    model = kind(*parts, "purification_distance", 1.0).eval()
    found = evaluate_rejection(
        model, (pixels, model(pixels).argmax(1)), attacks="pgd:steps=2", eps=1e-5, surrogates="atan(alpha=2)"
    )
    assert any(part.gradient == "guess" for part in found.cell("adaptive").components)


@pytest.mark.parametrize("model", [rejecting(), gated(0.08), Rejecting(gated(0.08), "disagreement", 0.5)])
def test_a_way_is_passed_exactly_where_the_model_goes_it(model):
    draw = torch.Generator().manual_seed(0)
    pixels = torch.rand((200, 1, 2, 2), generator=draw)
    passed = torch.zeros(200, dtype=torch.long)
    with torch.no_grad():
        for way in ways(model, unit=0.01):
            outputs = way(pixels)
            here = outputs[:, -1] >= 0
            passed += here.long()
            assert torch.allclose(outputs[here, :-1], model(pixels)[here])
        expected = model.accept(pixels) if isinstance(model, Rejecting) else torch.ones(200, dtype=torch.bool)
    assert torch.equal(passed, expected.long()) and int(expected.sum()) > 0


@pytest.fixture(scope="module")
def measured():
    torch.manual_seed(0)
    pixels, labels = torch.rand(30, 1, 2, 2), torch.randint(2, (30,))
    model = Rejecting(Defended(Resetting(second=0.4), Sum()), "purification_distance")
    model.calibrate(pixels, 0.8)
    return model, pixels, labels, evaluate_rejection(model, (pixels, labels), batch_size=7, **SETTINGS)


def test_every_figure_is_a_count_of_images(measured):
    model, pixels, labels, found = measured
    with torch.no_grad():
        logits, accept, scores = model.decide(pixels)
    right = logits.argmax(1) == labels
    assert found.clean.coverage == Score.of(accept.int().tolist()) and found.clean.coverage.correct == 24
    assert found.clean.accuracy.correct == int(right.sum())
    assert found.clean.selective == Score.share(int((right & accept).sum()), 24)
    assert found.clean.scores == pytest.approx(scores.tolist())
    for cell in found.cells:
        rows = list(zip(accept.tolist(), right.tolist(), cell.scores, cell.right, strict=True))
        taken = [score <= model.threshold for _, _, score, _ in rows]
        won = [(a and not r) or (t and not s) for (a, r, _, s), t in zip(rows, taken, strict=True)]
        assert cell.won.correct == sum(won) and cell.accepted.correct == sum(taken)
        assert list(cell.outcomes) == [
            int(a and r and not w) for (a, r, *_), w in zip(rows, won, strict=True)
        ]
        fooled = [score for _, before, score, after in rows if before and not after]
        assert cell.detection.successes == len(fooled)
        assert (cell.curve is None) == (cell.threat == "adaptive")
    assert found.cell("adaptive").won.correct >= found.cell("oblivious").won.correct
    (price,) = found.slight
    assert price.eps == pytest.approx(EPS / 4) and price.rejected.n == 24 and price.rejected.correct > 0


def test_what_is_saved_reads_back_and_writes_a_page(measured, tmp_path):
    from purespike.reporting.rejection import write_rejection

    *_, found = measured
    page = write_rejection(found, tmp_path / "gate")
    text = page.read_text(encoding="utf-8")
    assert Rejection.read(tmp_path / "gate" / "rejection.json") == found
    assert (tmp_path / "gate" / "figures" / "risk-coverage.png").stat().st_size > 1000
    table = (tmp_path / "gate" / "rejection.md").read_text(encoding="utf-8")
    for cell in found.cells:
        assert cell.robust.text in table and cell.robust.interval in table and cell.robust.interval in text
    assert found.provenance.versions and "selective gradient" in text
    assert "robust with reject" in str(found) and "can be made rejected" in str(found)


def test_a_killed_evaluation_resumes(measured, tmp_path, monkeypatch):
    model, pixels, labels, found = measured
    settings = {"batch_size": 7, "folder": tmp_path, **SETTINGS}

    def plain(rejection):
        content = json.loads(json.dumps(rejection.to_json()))
        content.pop("provenance")
        for cell in content["cells"]:
            cell.pop("seconds")
        return content

    def dies(*given, **named):
        dies.calls += 1
        if dies.calls == 8:
            raise KeyboardInterrupt
        return run(*given, **named)

    from purespike.rejection import judging

    run, dies.calls = judging.run_routes, 0
    monkeypatch.setattr(judging, "run_routes", dies)
    with pytest.raises(KeyboardInterrupt):
        evaluate_rejection(model, (pixels, labels), **settings)
    assert plain(evaluate_rejection(model, (pixels, labels), **settings)) == plain(found)
    # five chunks of three attacks, one of which died and is counted twice
    assert dies.calls == 16
    next(tmp_path.glob("*.json")).write_text("{")
    assert plain(evaluate_rejection(model, (pixels, labels), **settings)) == plain(found)
    before = dies.calls
    model.threshold *= 1.01
    evaluate_rejection(model, (pixels, labels), **settings)
    model.threshold /= 1.01
    assert dies.calls == before + 15, "another threshold is another model"


def test_a_gate_without_a_gradient_is_told():
    pixels, labels = images()
    pixels = torch.rand(pixels.shape, generator=torch.Generator().manual_seed(0))
    model = Rejecting(Defended(Detached(), Sum()), "purification_distance", 0.3)
    found = evaluate_rejection(model, (pixels, labels), slight=0, **SETTINGS)
    assert [(each.name, each.level) for each in found.findings] == [("score gradient", "unreliable")]


class Detached(nn.Module):
    def forward(self, x):
        return x + (x.detach() * 20).sin() / 20


@pytest.mark.parametrize(
    ("changes", "objects"),
    [
        ({}, True),
        ({"eps": 16 / 255}, True),
        ({"eps": 4 / 255}, False),
        ({"norm": "l2"}, False),
        ({"threat": "oblivious"}, False),
        ({"robust": Score.share(69, 100)}, False),
    ],
    ids=str,
)
def test_more_than_any_classifier_at_half_the_budget_is_not_believed(measured, changes, objects):
    *_, found = measured
    given = {"eps": 8 / 255, "norm": "linf", "threat": "adaptive", "robust": Score.share(72, 100), **changes}
    cell = found.cell("adaptive").model_copy(update=given)
    cifar = found.data.model_copy(update={"source": "cifar10"})
    finding = _implied(cell, cifar)
    assert (finding is not None) == objects and _implied(cell, found.data) is None
    assert finding is None or "would imply a classifier" in finding.message


class Random(nn.Module):
    def forward(self, x):
        return x + 0.1 * torch.rand_like(x)


@pytest.mark.parametrize(
    ("model", "settings", "message"),
    [
        (Sum(), {}, "Sum rejects nothing; give Rejecting"),
        (rejecting(None), {}, "has no threshold yet"),
        (rejecting(), {"attacks": "square"}, "square cannot follow a gate; use fgsm"),
        (rejecting(), {"attacks": "spsa"}, "spsa cannot follow a gate"),
        (rejecting(), {"attacks": "pgd:gate=1"}, "unknown setting of attack pgd 'gate'"),
        (rejecting(), {"slight": 2}, r"slight: a share of eps in \[0, 1\]"),
        (rejecting(), {"eps": 8}, "write 8/255, not 8"),
        (
            Rejecting(Defended(nn.Identity(), Sum()), "purification_distance", 0.1),
            {},
            "the score is 0 on all 6 clean images and tells nothing apart",
        ),
        (
            Rejecting(Defended(Resetting(float("nan")), Sum()), "purification_distance", 0.1),
            {},
            "not finite on 6 of 6 clean images",
        ),
        (Rejecting(Defended(Random(), Sum()), "purification_distance", 0.1), {}, "model is stochastic"),
    ],
)
def test_what_cannot_be_is_one_line(model, settings, message):
    with pytest.raises(InputError, match=message) as refused:
        evaluate_rejection(model, images(), **{**SETTINGS, **settings})
    assert "\n" not in str(refused.value)


def test_a_win_under_another_surrogate_is_one_of_the_model_as_it_is():
    """The score attacks inside, and has other values while the attacker's surrogate is in place."""
    pixels, labels = photographs(3, seed=7)
    model = Rejecting(spiking(), "prediction_change:steps=1")
    model.calibrate(photographs(4, seed=8)[0], 0.75)
    found = evaluate_rejection(
        model,
        (pixels, labels),
        attacks="pgd:steps=1",
        losses=["margin"],
        surrogates="rectangle(width=4)",
        slight=0,
    )
    cell = found.cell("adaptive")
    with torch.no_grad():
        clean = model.accept(pixels) & (model(pixels).argmax(1) != labels)
    counted = [s <= model.threshold and not r for s, r in zip(cell.scores, cell.right, strict=True)]
    assert sum(part.broken for part in cell.components) == sum(counted)
    assert cell.won.correct == sum(a or b for a, b in zip(counted, clean.tolist(), strict=True))
    assert {part.reset for part in cell.components} <= {None, "detached"}
