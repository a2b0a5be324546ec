"""Threat models: the attacker's knowledge, the model it differentiates, and its routes to a gradient."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from torch import Tensor, nn

from purespike.attacks import Attack, AttackResult, IdentityBackward
from purespike.attacks.adaptive import adaptive_routes
from purespike.attacks.bpda import LearnedBackward
from purespike.attacks.routes import Route, direct
from purespike.attacks.transfer import transfer
from purespike.errors import InputError, unknown
from purespike.models import Defended


@dataclass(frozen=True)
class Scene:
    """The attacked model, and the attackers' means.

    Args:
        model: images to logits, purified or not; every threat model but ``undefended`` is judged by it.
        surrogates: surrogates that the adaptive attacker differentiates in place of the spike.
        losses: losses that the adaptive attacker maximises.
        approximation: differentiable imitation of the purifier, for ``bpda``; ``None`` for none.
        substitutes: models of an attacker who has no other, by name, for ``transfer``.
    """

    model: nn.Module
    surrogates: Sequence[str]
    losses: Sequence[str]
    approximation: nn.Module | None = None
    substitutes: Mapping[str, nn.Module] = field(default_factory=dict)


@dataclass(frozen=True)
class Threat:
    """One threat model.

    Args:
        name: the word used everywhere.
        knows: the attacker's knowledge.
        gradient: the model that is differentiated.
        routes: function of a scene and an attack to the routes to a gradient that this attacker tries; none
            where the attack makes no sense under this threat model.
        needs: a scene's necessary part: ``"purifier"``, ``"substitutes"`` or nothing.
    """

    name: str
    knows: str
    gradient: str
    routes: Callable[[Scene, Attack], list[Route]]
    needs: str = ""

    def fits(self, model: nn.Module, substitutes: Mapping[str, nn.Module]) -> bool:
        """Whether a model and substitutes have what this threat model needs."""
        there = {"purifier": isinstance(model, Defended), "substitutes": bool(substitutes), "": True}
        return there[self.needs]


def _alone(scene: Scene, attack: Attack) -> list[Route]:
    # at full strength, without leaving early: the images are purified and shown afterwards
    classifier = classifier_of(scene.model)
    return [Route("own", "own", lambda attack, *given: attack(classifier, *given))]


def _bpda(scene: Scene, attack: Attack) -> list[Route]:
    if attack.loss_ascent_part() is None:
        return []
    assert isinstance(scene.model, Defended)
    routes = [_loss_ascent_only(direct(IdentityBackward(scene.model), name="identity"))]
    if scene.approximation is not None:
        routes.append(
            _loss_ascent_only(direct(LearnedBackward(scene.model, scene.approximation), name="learned"))
        )
    return routes


def _loss_ascent_only(route: Route) -> Route:
    """``route`` for the part of an attack that climbs a loss; the result's warnings name the parts left out.

    FAB ends just beyond the boundary of what it differentiates, and Square at the first image that it breaks:
    neither carries over.
    """

    def run(attack: Attack, images: Tensor, labels: Tensor) -> AttackResult:
        part = attack.loss_ascent_part()
        assert part is not None
        result = route.run(part, images, labels)
        if part == attack:
            return result
        messages = [*result.config.get("warnings", ()), "FAB and Square left out: they do not climb a loss"]
        return replace(result, config={**result.config, "warnings": messages})

    return replace(route, run=run)


def _adaptive(scene: Scene, attack: Attack) -> list[Route]:
    if not attack.differentiates:
        return []
    return adaptive_routes(scene.model, attack, surrogates=scene.surrogates, losses=scene.losses)


def _transfer(scene: Scene, attack: Attack) -> list[Route]:
    if attack.loss_ascent_part() is None:
        return []

    def route(name: str, substitute: nn.Module) -> Route:
        return _loss_ascent_only(
            Route(
                name, "own", lambda attack, *given: transfer(substitute, scene.model, *given, attack=attack)
            )
        )

    return [route(*pair) for pair in scene.substitutes.items()]


def _query(scene: Scene, attack: Attack) -> list[Route]:
    return [] if attack.differentiates or attack.norm == "noise" else [direct(scene.model)]


THREATS = {
    threat.name: threat
    for threat in (
        Threat("undefended", "the classifier, which has no purifier", "the classifier", _alone),
        Threat(
            "oblivious",
            "the classifier, not that a purifier stands before it",
            "the classifier alone; its images are then purified",
            _alone,
            needs="purifier",
        ),
        Threat(
            "bpda",
            "both",
            "the classifier, the purifier taken as the identity, or as a learned imitation of it",
            _bpda,
            needs="purifier",
        ),
        Threat(
            "adaptive",
            "both, and chooses the surrogate",
            "purifier and classifier, worst case per image over surrogates and losses",
            _adaptive,
        ),
        Threat(
            "transfer",
            "neither; has substitutes",
            "the substitutes, one by one",
            _transfer,
            needs="substitutes",
        ),
        Threat(
            "query", "only what the defended model answers", "nothing: an attack without gradients", _query
        ),
    )
}


def select_threats(
    names: str | Sequence[str], model: nn.Module, substitutes: Mapping[str, nn.Module] | None = None
) -> list[str]:
    """The threat models to run on ``model``, in the order of :data:`THREATS`.

    ``"all"`` is every one that makes sense: for a model without purifier ``query`` is what ``undefended`` is
    with an attack that takes no gradients. For a defended model ``"undefended"`` comes for nothing with
    ``"oblivious"``, and is added.

    Raises:
        InputError: unknown name, or one that needs a purifier or a substitute where there is none.
    """
    substitutes = substitutes or {}
    wanted = [names] if isinstance(names, str) else list(names)
    if "all" in wanted:
        fitting = [name for name, threat in THREATS.items() if threat.fits(model, substitutes)]
        return fitting if isinstance(model, Defended) else [name for name in fitting if name != "query"]
    for name in wanted:
        if name not in THREATS:
            raise unknown("threat model", name, [*THREATS, "all"])
        if not THREATS[name].fits(model, substitutes):
            reason = {
                "purifier": "the model has no purifier; use undefended or adaptive",
                "substitutes": "no substitute is given; train one and name it with --substitute",
            }
            raise InputError(f"threat model {name}: {reason[THREATS[name].needs]}")
    if "oblivious" in wanted:
        wanted.append("undefended")
    return [name for name in THREATS if name in wanted]


def classifier_of(model: nn.Module) -> nn.Module:
    """The classifier without its purifier, if it has one."""
    return model.classifier if isinstance(model, Defended) else model
