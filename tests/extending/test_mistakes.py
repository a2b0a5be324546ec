"""A wrong declaration is one clear line where it is made, and registers nothing."""

from dataclasses import dataclass, replace

import pytest

from purespike import InputError
from purespike.attacks import Attack, attack, create_attack, list_attacks
from purespike.ball import L2, Ball, Linf
from purespike.cli.options import takes_settings
from purespike.data import data_source
from purespike.evaluation.diagnostics import rule
from purespike.evaluation.threat import THREATS, threat_model
from purespike.models import list_models, register
from purespike.models.coding import Coding
from purespike.neurons import Surrogate
from purespike.reporting.section import SECTIONS, section
from purespike.reproduction.registry import EXPERIMENTS, experiment
from purespike.results import vocabulary
from purespike.results.vocabulary import ThreatWords, register_threat
from purespike.training.objectives import objective, penalty, projection
from purespike.training.objectives.registry import entries

WORDS = ThreatWords(
    name="own", title="Own", color="#336600", marker="h", knowledge=2, short="own", definition="Own."
)
KNOWS = {"knows": "all", "gradient": "all"}


def function(*given, **settings):
    """Anything."""


def two_steps(**settings):
    return create_attack("pgd", **{"steps": 2, **settings})


def broken(**settings):
    raise KeyError("boo")


class Bare(Attack):
    name: str = "bare"
    seed: int = 0


@dataclass(frozen=True)
class Nameless(Attack):
    seed: int = 0


@dataclass(frozen=True)
class Seedless(Attack):
    name: str = "seedless"

    def __call__(self, model, images, labels):
        """Attack."""


@dataclass(frozen=True)
class Idle(Attack):
    name: str = "idle"
    seed: int = 0


@dataclass(frozen=True)
class NoDefault(Attack):
    eps: float
    name: str = "no_default"
    seed: int = 0


@dataclass(frozen=True)
class Colon(Attack):
    name: str = "a:b"
    seed: int = 0

    def __call__(self, model, images, labels):
        """Attack."""


@dataclass(frozen=True)
class Alone:
    name: str = "alone"
    seed: int = 0


def threat_with(**words):
    return lambda: register_threat(replace(WORDS, **words))


WRONG = {
    "threat: needs": (lambda: threat_model(WORDS, **KNOWS, needs="purifer"), "did you mean 'purifier'"),
    "threat: same": (
        lambda: threat_model(WORDS, **KNOWS, same_without_purifier="adaptve"),
        "did you mean 'adaptive'",
    ),
    "threat: words": (lambda: threat_model("advers", **KNOWS), "unknown threat model with words 'advers'"),
    "threat: no parentheses": (lambda: threat_model(function), r"@threat_model on function: write it as"),
    "threat: not called": (lambda: threat_model(WORDS, **KNOWS)(3), "decorates a function or a class, not 3"),
    "threat: name": (
        threat_with(name="a,b"),
        "threat model 'a,b': a name of letters",
    ),
    "threat: no name": (threat_with(name=3), "threat model 3: a name of letters"),
    "threat: colour": (
        threat_with(color="leaf"),
        "own: color 'leaf': must be such as '#b5174b'",
    ),
    "threat: marker": (
        threat_with(marker="oo"),
        "own: marker 'oo': must be such as 'o'",
    ),
    "threat: title": (threat_with(title="two\nlines"), r"own: title 'two\\nlines': one line of printable"),
    "attack: title": (lambda: attack(title="\x1b[1m")(two_steps), "attack two_steps: title '.x1b.*one line"),
    "attack: name": (lambda: attack(title="T")(Colon), "attack 'a:b': a name of letters"),
    "source: form": (lambda: data_source("s", form="s"), "data source 's': form 's' is not its name"),
    "source: another form": (lambda: data_source("s", form="t:PATH"), "form 't:PATH' is not its name"),
    "source: colon": (lambda: data_source("s:t"), "data source 's:t': a name without a colon"),
    "source: no parentheses": (lambda: data_source(function), "@data_source on function: write it as"),
    "attack: norms": (lambda: attack(title="T", norms=("l7",))(two_steps), "'l7': did you mean 'l2'"),
    "attack: text": (
        lambda: attack(title="T", norms="linf")(two_steps),
        r"norms: several names.*\('linf',",
    ),
    "attack: contains": (
        lambda: attack(title="T", contains=("apgd",))(two_steps),
        "contains of attack two_steps 'apgd'",
    ),
    "attack: no parentheses": (
        lambda: attack(two_steps),
        r"@attack on two_steps: write it as @attack\(",
    ),
    "attack: class, no parentheses": (lambda: attack(Idle), "@attack on Idle: write it as"),
    "attack: no dataclass": (
        lambda: attack(title="T")(Bare),
        "attack Bare: is no dataclass; write @",
    ),
    "attack: no name": (lambda: attack(title="T")(Nameless), "attack Nameless: has no field name"),
    "attack: no seed": (lambda: attack(title="T")(Seedless), "attack seedless: lacks seed;"),
    "attack: no call": (lambda: attack(title="T")(Idle), "attack idle: lacks __call__;"),
    "attack: no default": (lambda: attack(title="T")(NoDefault), "attack no_default: cannot be made .*'eps'"),
    "attack: no base": (lambda: attack(title="T")(Alone), "attack alone: lacks norm, differentiates"),
    "attack: nothing made": (lambda: attack(title="T")(function), "attack function: makes None, which is no"),
    "attack: fails": (lambda: attack(title="T")(broken), "attack broken: cannot be made .*KeyError: 'boo'"),
    "rule: needs": (lambda: rule(needs="imges"), "did you mean 'images'"),
    "rule: no parentheses": (lambda: rule(function), "@rule on function: write it as @rule"),
    "rule: not called": (lambda: rule()(3), "decorates a function or a class, not 3"),
    "section: no parentheses": (lambda: section(function), "@section on function: write it as"),
    "section: not called": (lambda: section("own", "Own")("text"), "decorates a function .*not 'text'"),
    "objective: no parentheses": (lambda: objective(function), "@objective on function: write it as"),
    "objective: stage": (lambda: objective("own", stage="clasifier"), "unknown stage 'clasifier'"),
    "objective: base": (lambda: objective("own")(Alone), "objective 'own': Alone is no Objective"),
    "objective: taken": (lambda: objective("trades")(function), "objective 'trades' is registered twice"),
    "penalty: no parentheses": (lambda: penalty(function), "@penalty on function: write it as"),
    "penalty: not called": (lambda: penalty("own")(3), "decorates a function or a class, not 3"),
    "projection: no parentheses": (lambda: projection(function), "@projection on function: write it as"),
    "model: parentheses": (lambda: register(), "@register decorates a function, without parentheses"),
    "model: a name": (lambda: register("own"), "without parentheses, not 'own'"),
    "model: taken": (lambda: register(type("senet18_snn", (), {})), "'senet18_snn' is registered twice"),
    "experiment: no parentheses": (lambda: experiment(function), "@experiment on function: write it as"),
    "experiment: taken": (lambda: experiment("table1")(function), "experiment 'table1' is registered twice"),
    "command: no parentheses": (lambda: takes_settings(function), "@takes_settings on function: write it as"),
    "command: setting": (lambda: takes_settings("epss"), "'epss': did you mean 'eps'"),
    "norm: taken": (lambda: type("Mine", (Linf,), {"norm": "linf"}), "norm 'linf' is registered twice"),
    "norm: noise": (lambda: type("Mine", (Linf,), {"norm": "noise"}), "norm 'noise' is registered twice"),
    "norm: no title": (lambda: type("Mine", (L2,), {"norm": "mine"}), "Mine has no title for reports"),
}


def registered():
    parts = {**entries("classifier"), **entries("purifier")}
    sections = [one.name for one in SECTIONS]
    names = list_attacks(), list(THREATS), list(vocabulary.THREATS), list(vocabulary.ATTACKS), list_models()
    return *names, list(EXPERIMENTS), sections, dict(Ball.known), dict(vocabulary.NORMS), parts


@pytest.mark.parametrize(("declare", "says"), WRONG.values(), ids=WRONG.keys())
def test_a_wrong_declaration_is_one_line_and_registers_nothing(declare, says):
    before = registered()
    with pytest.raises(InputError, match=says) as refused:
        declare()
    assert "\n" not in str(refused.value)
    assert registered() == before


@pytest.fixture
def written(monkeypatch):
    monkeypatch.setattr(Surrogate, "known", dict(Surrogate.known))
    monkeypatch.setattr(Coding, "known", dict(Coding.known))


def test_a_setting_of_a_class_that_is_no_dataclass_is_said(written):
    class Undecorated(Surrogate):
        width: float = 1.0

        def derivative(self, distance):
            return distance

    with pytest.raises(InputError, match="surrogate undecorated: decorate Undecorated with @dataclass"):
        Surrogate.parse("undecorated(width=2)")


def test_a_method_that_is_missing_is_said(written):
    @dataclass(frozen=True)
    class Unfinished(Coding):
        pass

    with pytest.raises(InputError, match=r"coding 'unfinished': .*encode"):
        Coding.parse("unfinished")
