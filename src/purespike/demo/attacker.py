"""The attacker of the page: attack, budget and knowledge, in the words of evaluations."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import nn

from purespike.attacks import Attack, bounded, create_attack, list_attacks
from purespike.attacks.protocol import has_setting
from purespike.attacks.registry import knows_norm
from purespike.attacks.routes import Route
from purespike.budget import parse_eps
from purespike.checks import check_seed
from purespike.errors import InputError, unknown
from purespike.evaluation.plan import resolve
from purespike.evaluation.threat import THREATS, Scene
from purespike.results.vocabulary import attack_words
from purespike.scalars import check_whole
from purespike.settings import EvaluationSettings

MOST_STEPS = 100
QUERIES = 20
"""Queries of Square for each step of the page; the 5,000 of AutoAttack take minutes."""
_UNDEFENDED = "undefended"
# for frames of events, which the page does not show
_OF_EVENTS = ("pgd_counts",)


@dataclass(frozen=True, kw_only=True)
class Attacker:
    """Settings of an attack on one image.

    Args:
        attack: name of an attack, but no ensemble of attacks.
        threat: name of a threat model; under one that needs a purifier, the bare classifier is attacked as
            ``undefended``.
        eps: L∞ budget in pixel units, also as text, ``"16/255"``; positive.
        steps: steps of an attack that has them, from 1 to 100, each of size ``2.5 * eps / steps`` where it
            is constant; Square asks 20 times as many queries.
        seed: seed of the attack.

    Raises:
        InputError: an unknown name, or a value out of range.
    """

    attack: str = "pgd"
    threat: str = "oblivious"
    eps: float | str = "16/255"
    steps: int = 20
    seed: int = 0

    def __post_init__(self) -> None:
        if self.attack not in attack_names():
            raise unknown("attack of the demo", str(self.attack), attack_names())
        if self.threat not in THREATS:
            raise unknown("threat model", str(self.threat), THREATS)
        eps = parse_eps(self.eps)
        if eps == 0:
            raise InputError("eps: must be positive; without a budget there is no attack")
        object.__setattr__(self, "eps", eps)
        steps = check_whole(self.steps, name="steps", least=1)
        if steps > MOST_STEPS:
            raise InputError(f"steps: at most {MOST_STEPS} on the page, got {steps}; `evaluate` has no limit")
        object.__setattr__(self, "steps", steps)
        check_seed(self.seed)

    def build(self) -> Attack:
        """The attack itself."""
        settings = {"eps": self.eps} if bounded(self.attack) else {}
        made = create_attack(self.attack, seed=self.seed, **settings)
        if self.attack == "square":
            return create_attack(self.attack, seed=self.seed, queries=QUERIES * self.steps, **settings)
        if not attack_words(self.attack).stepwise or not has_setting(made, "steps"):
            return made
        settings["steps"] = self.steps
        if getattr(made, "rule", None) == "steepest":
            settings["step_size"] = 2.5 * float(self.eps) / self.steps
        return create_attack(self.attack, seed=self.seed, **settings)

    def routes(self, model: nn.Module) -> list[Route]:
        """The routes to a gradient that this attacker tries on ``model``, at least one.

        Raises:
            InputError: an attack that makes no sense under this threat model.
        """
        threat = THREATS[self.threat if THREATS[self.threat].fits(model, {}) else _UNDEFENDED]
        found = threat.ways(_scene(model), self.build())
        if not found:
            fitting = ", ".join(fitting_attacks(self.threat, model))
            raise InputError(
                f"{attack_words(self.attack).title}: makes no sense for the attacker {self.threat}, whose "
                f"gradient goes through {threat.gradient}; choose {fitting}"
            )
        return found


def attack_names() -> list[str]:
    """Attacks that the page offers: those within an L∞ ball, and noise, but no ensembles, in their order."""
    names = [
        name
        for name in list_attacks()
        if knows_norm(name, "linf") and not attack_words(name).suite and name not in _OF_EVENTS
    ]
    return sorted(names, key=lambda name: (attack_words(name).order, name))


def threat_names(models: Mapping[str, nn.Module]) -> list[str]:
    """Threat models that the page offers for some models, from the least knowledge to the most.

    Random numbers cannot be known of a model that draws none, nor does the page train substitutes.
    """
    purified = list(models.values())[-1]
    found = [
        threat.name
        for threat in THREATS.values()
        if threat.fits(purified, {}) and not threat.random and fitting_attacks(threat.name, purified)
    ]
    return [name for name in found if name != _UNDEFENDED or len(models) == 1]


def fitting_attacks(threat: str, model: nn.Module) -> list[str]:
    """The attacks of :func:`attack_names` that make sense under a threat model.

    Raises:
        InputError: an unknown threat model.
    """
    if threat not in THREATS:
        raise unknown("threat model", str(threat), THREATS)
    known = THREATS[threat if THREATS[threat].fits(model, {}) else _UNDEFENDED]
    scene = _scene(model)
    return [
        name for name in attack_names() if known.ways(scene, Attacker(attack=name, threat=threat).build())
    ]


def _scene(model: nn.Module) -> Scene:
    # the surrogates and losses of evaluations without a suite
    settings = resolve(EvaluationSettings.of(attacks="fgsm"))
    return Scene(model, settings.surrogates or (), settings.losses)
