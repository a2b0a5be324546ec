"""The session shows what the library computes: the same attacks, answers, spikes, scores and certificates."""

import threading

import pytest
import torch

import purespike as ps
from purespike.attacks import create_attack
from purespike.attacks.run import run_attack
from purespike.demo import Attacker, Climb, Session
from purespike.demo.jobs import Jobs, TimeUp
from purespike.demo.lineup import BARE
from purespike.errors import InputError
from purespike.evaluation.plan import SURROGATES
from purespike.neurons import firing_rates
from purespike.rejection import Rejecting

from .conftest import HOLDING, PAPER, TITLES


def climbed(session, image, label=None, attacker=None, **more):
    climb = Climb()
    for moment in session.attack(image, label, attacker, **more):
        climb.add(moment)
    return climb


def test_a_look_is_the_models_own_answer(session, lineup, image):
    found = session.look(image)
    assert tuple(found) == TITLES
    for title, moment in found.items():
        model = lineup.models[title]
        expected = model(image[None]).softmax(1)[0]
        assert moment.view.probabilities == pytest.approx(expected.tolist(), abs=1e-6)
        rates = firing_rates(model, image[None])
        assert moment.view.layers.keys() == rates.keys()
        for name, layer in moment.view.layers.items():
            assert sum(layer.rates) / len(layer.rates) == pytest.approx(rates[name], abs=1e-6)
        assert moment.stage == "clean" and moment.view.distance == 0
    # without a label, the bare classifier's answer is taken for the truth
    assert {moment.label for moment in found.values()} == {found[BARE].view.prediction}
    purified = lineup.models[PAPER].purify(image[None])[0].clamp(0, 1)
    assert torch.equal(found[PAPER].view.purified, purified) and found[BARE].view.purified is None


@pytest.mark.parametrize("name", ["fgsm", "pgd", "mifgsm"])
def test_oblivious_is_the_attack_on_the_classifier_alone(session, lineup, image, name):
    attacker = Attacker(attack=name, threat="oblivious", eps="8/255", steps=3)
    climb = climbed(session, image, 3, attacker)
    expected = run_attack(attacker.build(), lineup.models[BARE], image[None], torch.tensor([3])).images[0]
    for title, moment in climb.latest.items():
        assert moment.stage == "end" and torch.equal(moment.view.image, expected)
        shown = lineup.models[title](expected[None]).softmax(1)[0]
        assert moment.view.probabilities == pytest.approx(shown.tolist(), abs=1e-6)
        assert moment.broken == (int(shown.argmax()) != 3)
    stages = [(moment.stage, moment.step) for moment in climb.moments[PAPER]]
    steps = 1 if name == "fgsm" else 3
    assert stages == [("clean", 0), *(("step", step) for step in range(steps + 1)), ("end", steps)]


def test_the_budget_is_kept_and_the_difference_is_eightfold(session, image):
    for moment in session.attack(image, 3, Attacker(eps="4/255", steps=3)):
        assert moment.view.distance <= 4 / 255 + 1e-6
        expected = (0.5 + 8 * (moment.view.image - image)).clamp(0, 1)
        torch.testing.assert_close(moment.view.difference, expected)


def test_bpda_attacks_each_defended_model(session, lineup, image):
    attacker = Attacker(threat="bpda", eps="8/255", steps=2)
    climb = climbed(session, image, 3, attacker)
    model = ps.attacks.IdentityBackward(lineup.models[HOLDING])
    attack = create_attack("pgd", eps=8 / 255, steps=2, step_size=2.5 * 8 / 255 / 2, stop_early=True)
    expected = attack(model, image[None], torch.tensor([3])).images[0]
    assert torch.equal(climb.latest[HOLDING].view.image, expected)
    assert {moment.route for moment in climb.moments[HOLDING][1:]} == {"identity"}


def test_adaptive_is_the_worst_case_over_surrogates_and_losses(session, lineup, image):
    label = session.look(image)[PAPER].view.prediction
    climb = climbed(session, image, label, Attacker(threat="adaptive", eps="2/255", steps=1))
    result, components = ps.attacks.worst_case(
        lineup.models[PAPER],
        image[None],
        torch.tensor([label]),
        attack=Attacker(threat="adaptive", eps="2/255", steps=1).build(),
        surrogates=SURROGATES,
    )
    assert climb.latest[PAPER].broken == bool(result.broken[0])
    assert torch.equal(climb.latest[PAPER].view.image, result.images[0])
    routes = list(dict.fromkeys(moment.route for moment in climb.moments[PAPER] if moment.stage == "step"))
    assert len(routes) == len(components)
    assert routes[0] == f"{components[0].surrogate}, {components[0].loss}"


def test_an_attack_without_gradients_has_a_beginning_and_an_end(session, image):
    climb = climbed(session, image, 3, Attacker(attack="square", threat="query", steps=1))
    assert [moment.stage for moment in climb.moments[PAPER]] == ["clean", "end"]


def test_models_stay_as_they_were(session, lineup, image):
    before = {title: model(image[None]) for title, model in lineup.models.items()}
    climbed(session, image, 3, Attacker(threat="adaptive", eps="2/255", steps=1))
    for title, model in lineup.models.items():
        assert not model.training and all(value.requires_grad for value in model.parameters())
        assert torch.equal(model(image[None]), before[title])


def test_the_gate_is_the_library_s(session, lineup, image):
    found = session.look(image, score="purification_distance", coverage=0.9)
    gate = Rejecting(lineup.models[PAPER], "purification_distance")
    gate.calibrate(lineup.clean, 0.9)
    decision = gate.decide(image[None])
    view = found[PAPER].view
    assert view.threshold == pytest.approx(gate.threshold) and view.score == pytest.approx(
        decision.scores.item()
    )
    assert view.accepted == decision.accept.item()
    # the bare classifier has no purifier to look at
    assert found[BARE].view.accepted is None
    assert session.look(image, score="firing_rate")[BARE].view.accepted is not None


def test_the_certificate_is_the_library_s(session, lineup, image):
    found = session.certify(image, 3, sigma=0.1, n=30)
    expected = ps.certify(
        lineup.models[PAPER], (image[None], torch.tensor([3])), sigma=0.1, n=30, n0=100, alone=True
    )
    assert tuple(found.models) == TITLES
    assert found.models[PAPER].certificates == expected.first.certificates
    assert found.smoothing.largest_radius == pytest.approx(expected.smoothing.largest_radius)


def test_a_longer_attack_is_turned_back_step_by_step(session, image):
    climb = climbed(session, image, 3, Attacker(eps="4/255", steps=2))
    assert climb.length == 5
    assert [climb.at(place)[PAPER].stage for place in (0, 1, 4, 99, -1)] == [
        "clean",
        "step",
        "end",
        "end",
        "clean",
    ]


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        (lambda s, x: s.look(x[:, :4]), "shape [1, 4, 16], the models take [1, 16, 16]"),
        (lambda s, x: s.look(x * 300), "outside [0, 1]"),
        (lambda s, x: s.look("x"), "expected a torch tensor"),
        (lambda s, x: s.look(x, 10), "a class from 0 to 9, got 10"),
        (lambda s, x: s.look(x, score="nose"), "unknown score 'nose'"),
        (lambda s, x: s.look(x, score="noise_mean", coverage=2), "coverage: a share"),
        (lambda s, x: list(s.attack(x, 3, Attacker(attack="square", threat="bpda"))), "makes no sense"),
        (lambda s, x: s.certify(x, n=3), "certify nothing"),
        (lambda s, x: s.certify(x, sigma=0), "sigma"),
    ],
)
def test_what_cannot_be_used_is_said(session, image, ask, said):
    with pytest.raises(InputError) as error:
        ask(session, image)
    assert said in str(error.value)
    # and the next one can be
    assert session.look(image)


def test_without_clean_images_there_is_no_gate(lineup, image):
    from dataclasses import replace

    with pytest.raises(InputError, match="--data"):
        Session(replace(lineup, clean=None)).look(image, score="noise_mean")


def test_the_time_limit_ends_attacks_of_any_kind(lineup, image):
    # a pass takes longer, and an attack that succeeds early ends by itself
    session = Session(lineup, jobs=Jobs(0.001))
    for attacker in (
        Attacker(threat="adaptive", steps=100),
        Attacker(attack="square", threat="query", steps=100),
    ):
        with pytest.raises(TimeUp, match=r"stopped after 0\.001 s"):
            list(session.attack(image, 3, attacker))
    with pytest.raises(TimeUp):
        session.certify(image, 3, n=2000)


def test_leaving_ends_the_attack(session, image):
    running = session.attack(image, 3, Attacker(threat="adaptive", steps=100))
    assert next(running).stage == "clean"
    running.close()
    assert session.look(image)
    assert not [thread for thread in threading.enumerate() if thread.name == "job" and thread.is_alive()]
