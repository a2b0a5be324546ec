"""What parts from outside say is not taken on trust: numbers are those of the model, and of today's code."""

from dataclasses import dataclass

import pytest
import torch
from torch import nn

import purespike as ps
from purespike.attacks import Attack, AttackResult, attack, create_attack, registry
from purespike.attacks.routes import Route, direct
from purespike.evaluation import threat
from purespike.evaluation.diagnostics import RULES, rule
from purespike.results import vocabulary
from purespike.results.vocabulary import ThreatWords

WORDS = {
    "title": "Mine",
    "short": "mine",
    "definition": "",
    "color": "#123456",
    "marker": "o",
    "knowledge": 1,
}


@pytest.fixture(autouse=True)
def own(monkeypatch):
    """Parts that no other test sees."""
    monkeypatch.setattr(registry, "_ENTRIES", dict(registry._ENTRIES))
    for name in ("ATTACKS", "THREATS"):
        monkeypatch.setattr(vocabulary, name, dict(getattr(vocabulary, name)))
    before, rules = dict(threat.THREATS), dict(RULES)
    yield
    for known, former in ((threat.THREATS, before), (RULES, rules)):
        known.clear()
        known.update(former)


@pytest.fixture(scope="module")
def given():
    torch.manual_seed(2)
    model, images = nn.Sequential(nn.Flatten(), nn.Linear(48, 4)).eval(), torch.rand(12, 3, 4, 4)
    model[1].bias.data.zero_()
    return model, (images, model(images).argmax(1))


def define(found):
    """An attack called ``mine`` that returns the images that ``found`` makes of the given ones."""

    @attack(title="Mine")
    @dataclass(frozen=True, kw_only=True)
    class Mine(Attack):
        name: str = "mine"
        eps: float = 8 / 255
        seed: int = 0

        def __call__(self, model, images, labels):
            made = found(images)
            wrong = model(made).argmax(1) != labels
            return AttackResult(made, wrong, 0 * labels, torch.zeros(1, len(labels)), len(labels), 0)


def score(given, **settings):
    found = ps.evaluate(*given, **{"attacks": "mine", "eps": "8/255", "diagnose": 0, **settings})
    return found.cells[0].score.correct


def test_an_attack_that_works_in_place_cannot_hide_it(given):
    define(lambda images: images.add_(torch.rand_like(images)).clamp_(0, 1))
    before = given[1][0].clone()
    with pytest.raises(ps.InputError, match="attack mine: left its budget"):
        score(given)
    assert torch.equal(given[1][0], before)


def test_numbers_of_former_code_are_not_read_back(given, tmp_path):
    define(lambda images: images)
    assert score(given, folder=tmp_path) == 12
    del registry._ENTRIES["mine"], vocabulary.ATTACKS["mine"]
    gradient = given[0][1].weight.view(4, 3, 4, 4)
    worst = gradient.mean(0).sign() * 8 / 255
    define(lambda images: (images + worst).clamp(0, 1))
    assert score(given, folder=tmp_path) == score(given)


def test_findings_of_former_code_are_not_read_back(given, tmp_path):
    for line in ("first", "second"):
        RULES.pop("check_mine", None)

        @rule(needs="nothing")
        def check_mine(e, line=line):
            yield ps.results.Finding(
                name="mine", group="defence", level="reliable", message=line, advice="", source=""
            )

        found = ps.evaluate(*given, attacks="fgsm", folder=tmp_path, diagnose=2)
        assert found.diagnostics[-1].message == line


def test_a_route_of_an_own_threat_model_is_judged_by_the_defended_model(given):
    torch.manual_seed(5)
    proxy = nn.Sequential(nn.Flatten(), nn.Linear(48, 4)).eval()

    @threat.threat_model(ThreatWords(name="proxy", **WORDS), knows="", gradient="")
    def routes(scene, attack):
        return [direct(proxy)]

    found = ps.evaluate(*given, attacks="fgsm", eps="1/255", threat="proxy", diagnose=0)
    assert found.cells[0].score.correct == 12


WRONG_ROUTES = {
    "nothing": (lambda: None, "threat model mine: must return a list of Route, got None"),
    "no routes": (lambda: [3], r"threat model mine: must return a list of Route, got \[3\]"),
    "no result": (lambda: [Route("a", "b", lambda *_: None)], "route a: must return an AttackResult"),
    "a wider budget": (
        lambda: [Route("a", "b", lambda _, *pair: create_attack("fgsm", eps=1.0)(MODEL, *pair))],
        "route a: left its budget",
    ),
    "a failure": (lambda: 1 / 0, "threat model mine: failed with ZeroDivisionError"),
}
MODEL = nn.Sequential(nn.Flatten(), nn.Linear(48, 4)).eval()


@pytest.mark.parametrize(("make", "message"), WRONG_ROUTES.values(), ids=WRONG_ROUTES)
def test_wrong_routes_are_one_line(given, make, message):
    @threat.threat_model(ThreatWords(name="mine", **WORDS), knows="", gradient="")
    def routes(scene, attack):
        return make()

    with pytest.raises(ps.InputError, match=message):
        ps.evaluate(*given, attacks="fgsm", eps="8/255", threat="mine", diagnose=0)


@pytest.mark.parametrize("settings", [{}, {"eps": 0.5}])
def test_an_attack_that_drops_its_settings_is_refused(given, settings):
    @attack(title="Lazy")
    def lazy(**_):
        return create_attack("pgd", steps=2, **settings)

    with pytest.raises(ps.InputError, match=r"attack lazy: is asked for eps 1/255 in linf, and has eps"):
        score(given, attacks="lazy", eps="1/255")


@pytest.mark.parametrize(("value", "frozen"), [(print, True), ((), False)])
def test_settings_that_no_file_holds_are_refused_before_the_attacks(given, value, frozen):
    @attack(title="Odd")
    @dataclass(frozen=frozen, kw_only=True)
    class Odd(Attack):
        name: str = "odd"
        eps: float = 8 / 255
        seed: int = 0
        option: object = value

        def __call__(self, model, images, labels):
            raise AssertionError("attacked all the same")

    with pytest.raises(ps.InputError, match=r"attack odd: its settings cannot be kept \(.*frozen dataclass"):
        score(given, attacks="odd")


def test_the_norm_of_an_attack_is_that_of_the_evaluation(given):
    @attack(title="Round", norms=("l2",))
    @dataclass(frozen=True, kw_only=True)
    class Round(Attack):
        name: str = "round"
        eps: float = 0.5
        seed: int = 0
        norm = "l2"

        def __call__(self, model, images, labels):
            wrong = torch.zeros(len(labels), dtype=torch.bool)
            return AttackResult(images.clone(), wrong, 0 * labels, torch.zeros(1, len(labels)), 1, 0)

    assert score(given, attacks="round", norm="l2", eps=0.5) == 12
    with pytest.raises(ps.InputError, match="attack round: does not know the norm linf"):
        score(given, attacks="round")


def test_nothing_that_can_be_examined_is_not_reliable(given):
    define(lambda images: images)
    found = ps.evaluate(*given, attacks="mine", eps="8/255", diagnose=4)
    assert found.verdict.level != "reliable"
    assert "no attack takes untargeted gradient steps" in str(found.verdict)


def test_an_attack_that_no_threat_model_takes_is_named(given):
    with pytest.raises(
        ps.InputError, match=r"square is left out: no attack under adaptive; add the threat model"
    ):
        score(given, attacks="square:queries=5")
    found = ps.evaluate(*given, attacks="square:queries=5,fgsm", eps="8/255", diagnose=0)
    assert [cell.attack for cell in found.cells] == ["fgsm"]
    (sentence,) = found.settings.left_out
    assert (
        sentence == "square is left out: no attack under adaptive; add the threat model undefended or query"
    )


def test_a_rule_cannot_change_the_images_of_the_others(given):
    plain = ps.evaluate(*given, attacks="fgsm", eps="8/255", diagnose=4).diagnostics

    @rule(needs="images", order=1)
    def check_mine(e):
        e.images.zero_()
        yield from ()

    first, *others = ps.evaluate(*given, attacks="fgsm", eps="8/255", diagnose=4).diagnostics
    assert first.message.endswith("it changed the images") and tuple(others) == plain
