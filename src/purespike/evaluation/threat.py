"""Threat models: the attacker's knowledge, the model it differentiates, and its routes to a gradient."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from torch import Tensor, nn

from purespike.attacks import Attack, AttackResult, IdentityBackward
from purespike.attacks.adaptive import adaptive_routes
from purespike.attacks.bpda import LearnedBackward
from purespike.attacks.routes import Route, direct
from purespike.attacks.run import from_outside, run_attack
from purespike.attacks.transfer import transfer
from purespike.errors import InputError, unknown
from purespike.models import Defended
from purespike.models.draws import KnownDraws
from purespike.models.guard import own_code
from purespike.registration import registering
from purespike.results import vocabulary
from purespike.results.vocabulary import ThreatWords, register_threat


@dataclass(frozen=True)
class Scene:
    """The attacked model, and the resources of the attackers.

    Args:
        model: images to logits, purified or not; every threat model but ``undefended`` is judged by it.
        surrogates: surrogates that the adaptive attacker differentiates in place of the spike.
        losses: losses that the adaptive attacker maximises.
        approximation: differentiable imitation of the purifier, for ``bpda``; ``None`` for none.
        substitutes: models of an attacker without access to ``model``, by name, for ``transfer``.
    """

    model: nn.Module
    surrogates: Sequence[str]
    losses: Sequence[str]
    approximation: nn.Module | None = None
    substitutes: Mapping[str, nn.Module] = field(default_factory=dict)


NEEDS = ("", "purifier", "substitutes")
"""Parts of a scene that a threat model may need."""

Routes = Callable[[Scene, Attack], list[Route]]


@dataclass(frozen=True)
class Threat:
    """One threat model; registered by :func:`threat_model`.

    Args:
        name: name in settings and results.
        knows: the attacker's knowledge.
        gradient: the model that is differentiated.
        routes: function of a scene and an attack to the routes to a gradient that this attacker tries; none
            where the attack makes no sense under this threat model.
        needs: necessary part of a scene: ``"purifier"``, ``"substitutes"`` or nothing.
        same_without_purifier: threat model with the same numbers where there is no purifier; ``"all"`` then
            leaves this one out.
        judge: function of the attacked model to the one that judges the images of this attacker.
        random: whether it makes sense against a stochastic model alone.
    """

    name: str
    knows: str
    gradient: str
    routes: Routes
    needs: str = ""
    same_without_purifier: str = ""
    judge: Callable[[nn.Module], nn.Module] = lambda model: model
    random: bool = False

    def ways(self, scene: Scene, attack: Attack) -> list[Route]:
        """:attr:`routes`, checked.

        Raises:
            InputError: routes from outside the library fail, or return something else than routes.
        """
        if not from_outside(self.routes):
            return self.routes(scene, attack)
        with own_code(f"threat model {self.name}"):
            routes = self.routes(scene, attack)
        if not isinstance(routes, list | tuple) or not all(isinstance(route, Route) for route in routes):
            raise InputError(f"threat model {self.name}: must return a list of Route, got {routes!r}"[:200])
        return list(routes)

    def fits(self, model: nn.Module, substitutes: Mapping[str, nn.Module]) -> bool:
        """Whether the model and substitutes include the part that this threat model needs."""
        available = (True, isinstance(model, Defended), bool(substitutes))
        return available[NEEDS.index(self.needs)]


THREATS: dict[str, Threat] = {}
"""Threat models in the order in which they are run."""


@registering('@threat_model(words, knows="…", gradient="…")')
def threat_model(
    words: str | ThreatWords,
    *,
    knows: str,
    gradient: str,
    needs: str = "",
    same_without_purifier: str = "",
    judge: Callable[[nn.Module], nn.Module] = lambda model: model,
    random: bool = False,
) -> Callable[[Routes], Routes]:
    """Register a threat model: decorates the function of its routes, see :class:`Threat`.

    Args:
        words: the words of reports; or the name of a threat model whose words are registered.
        knows: the attacker's knowledge.
        gradient: model that is differentiated.
        needs: necessary part of a scene.
        same_without_purifier: threat model with the same numbers without a purifier.
        judge: function of the attacked model to the one that judges the images.
        random: whether it makes sense against a stochastic model alone.

    Raises:
        InputError: the name is taken, or words, needs or another threat model are unknown.

    In a file of one's own::

        @threat_model(ThreatWords(name="decision", ...), knows="labels only", gradient="nothing")
        def decision(scene: Scene, attack: Attack) -> list[Route]:
            return [] if attack.differentiates else [direct(LabelsOnly(scene.model))]
    """

    if isinstance(words, str) and words not in vocabulary.THREATS:
        raise unknown("threat model with words", words, vocabulary.THREATS)
    if needs not in NEEDS:
        raise unknown("needs of a threat model", str(needs), filter(None, NEEDS))
    if same_without_purifier and same_without_purifier not in THREATS:
        raise unknown("threat model without a purifier", str(same_without_purifier), THREATS)

    def register(routes: Routes) -> Routes:
        name = words if isinstance(words, str) else register_threat(words).name
        if name in THREATS:
            raise InputError(f"threat model {name!r} is registered twice")
        THREATS[name] = Threat(
            name, knows, gradient, routes, needs, same_without_purifier, judge=judge, random=random
        )
        return routes

    return register


@threat_model(
    "oblivious",
    knows="the classifier, but not the purifier",
    gradient="the classifier alone; its images are then purified",
    needs="purifier",
)
@threat_model(
    "undefended",
    knows="the classifier, which has no purifier",
    gradient="the classifier",
    judge=lambda model: classifier_of(model),
)
def _alone(scene: Scene, attack: Attack) -> list[Route]:
    # at full strength, without early stopping: the images are purified and shown afterwards
    classifier = classifier_of(scene.model)
    return [Route("own", "own", lambda attack, *given: run_attack(attack, classifier, *given))]


@threat_model(
    "bpda",
    knows="both",
    gradient="the classifier, the purifier taken as the identity, or as a learned imitation of it",
    needs="purifier",
)
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
    """``route`` for the part of an attack that maximises a loss; the result's warnings name the other parts.

    FAB ends just beyond the decision boundary of the model that it differentiates, and Square at the first
    image that breaks that model: neither transfers.
    """

    def run(attack: Attack, images: Tensor, labels: Tensor) -> AttackResult:
        part = attack.loss_ascent_part()
        assert part is not None
        result = route.run(part, images, labels)
        if part == attack:
            return result
        line = "FAB and Square left out: they do not climb a loss"
        return replace(result, warnings=(*result.warnings, line))

    return replace(route, run=run)


@threat_model(
    "adaptive",
    knows="both, and chooses the surrogate",
    gradient="purifier and classifier, worst case per image over surrogates and losses",
)
def _adaptive(scene: Scene, attack: Attack) -> list[Route]:
    if not attack.differentiates:
        return []
    return adaptive_routes(scene.model, attack, surrogates=scene.surrogates, losses=scene.losses)


@threat_model(
    "seed_known",
    knows="both, the surrogate, and the random numbers to be drawn",
    gradient="as adaptive, with these random numbers",
    judge=KnownDraws,
    random=True,
)
def _seed_known(scene: Scene, attack: Attack) -> list[Route]:
    return _adaptive(replace(scene, model=KnownDraws(scene.model)), attack)


@threat_model(
    "transfer",
    knows="neither; has substitutes",
    gradient="the substitutes, one by one",
    needs="substitutes",
)
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


@threat_model(
    "query",
    knows="only the answers of the defended model",
    gradient="nothing: an attack without gradients",
    same_without_purifier="undefended",
)
def _query(scene: Scene, attack: Attack) -> list[Route]:
    return [] if attack.differentiates or attack.norm == "noise" else [direct(scene.model)]


def select_threats(
    names: str | Sequence[str], model: nn.Module, substitutes: Mapping[str, nn.Module] | None = None
) -> list[str]:
    """The threat models to run on ``model``, in the order of :data:`THREATS`.

    ``"all"`` selects every threat model that applies; without a purifier, ``query`` equals ``undefended``
    under an attack without gradients, and is left out. ``"undefended"`` is added to ``"oblivious"``, since
    both share one attack.

    Raises:
        InputError: unknown name, or one that needs a purifier or a substitute where there is none.
    """
    substitutes = substitutes or {}
    wanted = [names] if isinstance(names, str) else list(names)
    if "all" in wanted:
        fitting = [threat for threat in THREATS.values() if threat.fits(model, substitutes)]
        defended = isinstance(model, Defended)
        return [threat.name for threat in fitting if defended or not threat.same_without_purifier]
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
