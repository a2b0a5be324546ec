"""The attacker of the page, in the words of evaluations."""

import pytest

from purespike.demo import Attacker
from purespike.demo.attacker import attack_names, fitting_attacks, threat_names
from purespike.errors import InputError
from purespike.evaluation.threat import THREATS

from .conftest import PAPER


def test_the_threat_models_are_those_that_fit(lineup):
    names = threat_names(lineup.models)
    assert names == ["oblivious", "bpda", "adaptive", "query"] and set(names) < set(THREATS)
    alone = {"bare classifier": lineup.models["bare classifier"]}
    assert threat_names(alone) == ["undefended", "adaptive", "query"]


@pytest.mark.parametrize("threat", ["oblivious", "bpda", "adaptive", "query"])
def test_every_attack_that_is_offered_has_routes_on_every_model(lineup, threat):
    for name in fitting_attacks(threat, lineup.models[PAPER]):
        for model in lineup.models.values():
            assert Attacker(attack=name, threat=threat).routes(model)


def test_suites_of_attacks_take_minutes_and_are_not_offered():
    assert "pgd" in attack_names() and not {"autoattack", "autoattack_rand"} & {*attack_names()}


def test_settings_reach_the_attack():
    attack = Attacker(attack="pgd", eps="10/255", steps=5, seed=7).build()
    assert (attack.eps, attack.steps, attack.seed) == (pytest.approx(10 / 255), 5, 7)
    assert attack.step_size == pytest.approx(2.5 * 10 / 255 / 5)
    assert Attacker(attack="fgsm", steps=5).build().steps == 1
    assert Attacker(attack="sa_pgd", steps=9).build().schedule == "halving"
    assert Attacker(attack="square", threat="query", steps=3).build().queries == 60


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"attack": "pdg"}, "did you mean 'pgd'"),
        ({"threat": "adaptve"}, "did you mean 'adaptive'"),
        ({"eps": 8}, "write 8/255"),
        ({"eps": 0}, "must be positive"),
        ({"steps": 0}, "steps"),
        ({"steps": 101}, "at most 100"),
        ({"steps": "many"}, "steps"),
        ({"seed": -1}, "seed"),
    ],
)
def test_other_settings_are_refused(settings, said):
    with pytest.raises(InputError) as error:
        Attacker(**settings)
    assert said in str(error.value)
