"""Threat models: what an attacker knows, and what is attacked and judged under each."""

from dataclasses import dataclass

from torch import nn

from purespike.attacks import IdentityBackward
from purespike.errors import InputError, unknown
from purespike.models import Defended


@dataclass(frozen=True)
class Threat:
    """One threat model.

    Args:
        name: the word used everywhere.
        knows: what the attacker knows.
        gradient: what is differentiated.
        needs_purifier: whether it makes sense for a defended model only.
    """

    name: str
    knows: str
    gradient: str
    needs_purifier: bool


THREATS = {
    threat.name: threat
    for threat in (
        Threat("undefended", "the classifier, which has no purifier", "the classifier", False),
        Threat(
            "oblivious",
            "the classifier, not that a purifier stands before it",
            "the classifier alone; its images are then purified",
            True,
        ),
        Threat("bpda", "both", "the classifier, the purifier taken as the identity", True),
        Threat(
            "adaptive",
            "both, and chooses the surrogate",
            "purifier and classifier, worst case per image over surrogates and losses",
            False,
        ),
        Threat("query", "only what the whole answers", "nothing: an attack without gradients", False),
    )
}


def select_threats(names: str | list[str] | tuple[str, ...], model: nn.Module) -> list[str]:
    """The threat models to run on ``model``, in the order of :data:`THREATS`.

    ``"all"`` is every one that makes sense: for a model without purifier ``query`` is what ``undefended`` is
    with an attack that takes no gradients. For a defended model ``"undefended"`` comes for nothing with
    ``"oblivious"``, and is added.

    Raises:
        InputError: unknown name, or one that needs a purifier where there is none.
    """
    defended = isinstance(model, Defended)
    wanted = [names] if isinstance(names, str) else list(names)
    if "all" in wanted:
        bare = [name for name, threat in THREATS.items() if not threat.needs_purifier and name != "query"]
        return list(THREATS) if defended else bare
    for name in wanted:
        if name not in THREATS:
            raise unknown("threat model", name, [*THREATS, "all"])
        if THREATS[name].needs_purifier and not defended:
            raise InputError(f"threat model {name}: the model has no purifier; use undefended or adaptive")
    if "oblivious" in wanted:
        wanted.append("undefended")
    return [name for name in THREATS if name in wanted]


def classifier_of(model: nn.Module) -> nn.Module:
    """The classifier without its purifier, if it has one."""
    return model.classifier if isinstance(model, Defended) else model


def bpda(model: nn.Module) -> nn.Module:
    """What the ``bpda`` attacker differentiates.

    Raises:
        InputError: the model has no purifier.
    """
    if not isinstance(model, Defended):
        raise InputError("bpda: the model has no purifier to approximate")
    return IdentityBackward(model)
