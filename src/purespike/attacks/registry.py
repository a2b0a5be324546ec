"""Attacks by name: a decorator registers each where it is defined, with everything that is known of it."""

from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field, fields, replace
from typing import Any, Protocol, TypeVar, overload

import torch
from torch import Tensor, nn

from purespike.attacks.declaration import check_words, default_of, name_of
from purespike.attacks.protocol import Attack, has_setting, settle_scalars
from purespike.attacks.result import AttackResult
from purespike.attacks.run import run_attack
from purespike.ball import Ball
from purespike.errors import InputError, unknown
from purespike.models.adapters import as_module
from purespike.models.guard import lent
from purespike.registration import own_name, registering
from purespike.results.vocabulary import AttackWords, register_attack
from purespike.seeding import seeded

A = TypeVar("A", bound=Attack)


@dataclass(frozen=True)
class Preset:
    """A mechanism under a name of its own; called with settings, it makes an attack.

    Args:
        name: name of the attack.
        mechanism: frozen dataclass that attacks.
        fixed: settings that cannot be changed.
        defaults: settings whose defaults differ from those of the mechanism.
        about: description in a sentence.
    """

    name: str
    mechanism: type[Any]
    fixed: Mapping[str, Any] = field(default_factory=dict)
    defaults: Mapping[str, Any] = field(default_factory=dict)
    about: str = ""

    def __call__(self, **settings: Any) -> Attack:
        given = {one.name for one in fields(self.mechanism) if one.default is not MISSING}
        allowed = given - {"name", *self.fixed}
        for key in settings:
            if key not in allowed and key in ("targeted", "target"):
                raise InputError(
                    f"attack {self.name}: takes no target (those inside AutoAttack choose their own); "
                    f"targeted attacks are {', '.join(list_attacks(targeted=True))}"
                )
            if key not in allowed:
                raise unknown(f"setting of attack {self.name}", key, allowed)
        defaults = dict(self.defaults)
        if settings.get("norm", "linf") != "linf":
            # a default of L∞; the mechanism has its own for other norms
            defaults.pop("step_size", None)
        made: Attack = self.mechanism(name=self.name, **{**defaults, **settings, **self.fixed})
        return made


@dataclass(frozen=True)
class _Entry:
    """A registered attack: what makes it, and the norms it knows (``None``: all that there are)."""

    make: Callable[..., Attack]
    norms: tuple[str, ...] | None

    @property
    def name(self) -> str:
        return self.make.name if isinstance(self.make, Preset) else own_name("attack", self.make)


_ENTRIES: dict[str, _Entry] = {}


class _Decorator(Protocol):
    @overload
    def __call__(self, make: type[A]) -> type[A]: ...  # type: ignore[overload-overlap]
    @overload
    def __call__(self, make: Callable[..., Attack]) -> Callable[..., AttackResult]: ...


@registering('@attack(title="…")')
def attack(
    *,
    title: str,
    order: int = 1000,
    rank: int | None = None,
    contains: tuple[str, ...] = (),
    stepwise: bool = True,
    suite: bool = False,
    norms: tuple[str, ...] | None = None,
) -> _Decorator:
    """Register an attack: decorates a mechanism, or a function that makes an attack from keyword settings.

    A mechanism, a frozen dataclass, is registered under the default of its ``name`` and stays as it is; a
    function or :class:`Preset` is registered under its own name and becomes the function that attacks:
    ``(model, images, labels, **settings) -> AttackResult``. Whether the attack takes a budget, follows
    gradients, averages over passes or can be targeted is read off its settings and properties.

    Args:
        title: name in tables.
        order: place in tables.
        rank: strength: it is expected to be at least as strong as attacks of lower rank that take no more
            steps (FGSM 0, iterated attacks 1, APGD 2, ensembles 3); ``None`` if it is not compared.
        contains: attacks that it runs and whose successes it keeps.
        stepwise: whether its steps belong to its name, ``PGD-20``.
        suite: whether it runs several attacks, many times the steps that its settings name.
        norms: norms that it knows; ``None`` for all if it has the setting ``norm``.

    Raises:
        InputError: the name is taken, a norm or a contained attack is unknown, or no attack is made.

    In a file of one's own::

        @attack(title="Last PGD", rank=1)
        def last_pgd(**settings):
            return create_attack("pgd", keep="last", **settings)
    """

    def register(make: Any) -> Any:
        is_class = isinstance(make, type)
        entry = _Entry(Preset(name_of(make), make, about=make.__doc__ or "") if is_class else make, norms)
        name = entry.name
        check_words(name, norms, contains, _ENTRIES)
        default = default_of(name, entry.make)
        words = AttackWords(
            name=name,
            title=title,
            order=order,
            stepwise=stepwise,
            rank=rank,
            contains=contains,
            by_queries=not default.differentiates and default.norm != "noise",
            suite=suite,
        )
        register_attack(words)
        if has_setting(default, "targeted"):
            # a class that must be reached is harder to reach: the numbers of the two are not compared
            register_attack(
                replace(words, name=f"{name}_targeted", title=f"Targeted {title}", rank=None, contains=())
            )
        _ENTRIES[name] = entry
        return make if is_class else attacking(name)

    return register


def _entry(name: str) -> _Entry:
    if name not in _ENTRIES:
        raise unknown("attack", name, _ENTRIES)
    return _ENTRIES[name]


def list_attacks(*, targeted: bool = False) -> list[str]:
    """The names that :func:`create_attack` takes; ``targeted`` for those that can be targeted."""
    return sorted(
        name for name, entry in _ENTRIES.items() if not targeted or has_setting(entry.make(), "targeted")
    )


def create_attack(name: str, **settings: Any) -> Attack:
    """The attack called ``name``, ready to be called with a model, images and true labels.

    Steps and step size default to the paper's 7 and 2/255; in L2 (``norm="l2"``) the step size to
    ``2.5 * eps / steps``. :mod:`purespike.attacks.presets` lists the attacks with their sources.

    With ``targeted=True`` the attack leads each image to another class, chosen from the true one: ``target``
    is ``"next"`` (the default), ``"random"`` or ``"least_likely"``; with ``target=None`` the labels it is
    called with are the targets. Its name then ends in ``_targeted``. Its ``success`` is to be taken for the
    target; an evaluation counts an image as broken if it is misclassified at all.

    Raises:
        InputError: unknown attack or setting, or a setting out of range.
    """
    if settings.get("targeted"):
        settings = {"target": "next", **settings}
    try:
        made = _entry(name).make(**settings)
        settle_scalars(made)
    except TypeError as error:
        raise InputError(f"attack {name}: {error}") from error
    return replace(made, name=f"{name}_targeted" if getattr(made, "targeted", False) else name)


@dataclass(frozen=True)
class Described:
    """What is known of a registered attack.

    Args:
        about: its docstring.
        mechanism: class of the attacks that it makes.
        settings: settings that it takes, with their defaults.
        norms: norms that it can be bounded in; empty for an attack without a budget.
    """

    about: str
    mechanism: type[Any]
    settings: Mapping[str, Any]
    norms: tuple[str, ...]


def describe_attack(name: str) -> Described:
    """The settings of the attack called ``name``, and what its docstring says.

    Raises:
        InputError: unknown attack.
    """
    make = _entry(name).make
    made: Any = make()
    fixed = make.fixed if isinstance(make, Preset) else ()
    # a Python object, and the attack's own name, are nothing to write
    values = {one.name: getattr(made, one.name) for one in fields(made) if one.init}
    taken = [key for key in values if key not in ("name", "gate", *fixed) and _takes(make, key, values[key])]
    about = make.about if isinstance(make, Preset) else make.__doc__
    norms = tuple(norm for norm in Ball.known if bounded(name) and knows_norm(name, norm))
    return Described(about or "", type(made), {key: values[key] for key in taken}, norms)


def _takes(make: Callable[..., Any], key: str, value: Any) -> bool:
    """Whether a function of somebody's makes its attack with this setting, too."""
    try:
        make(**{key: value})
    except (InputError, TypeError):
        return False
    return True


def bounded(name: str) -> bool:
    """Whether the attack called ``name`` takes a budget ``eps``.

    Raises:
        InputError: unknown attack.
    """
    return has_setting(_entry(name).make(), "eps")


def knows_norm(name: str, norm: str) -> bool:
    """Whether the attack called ``name`` can be bounded in ``norm``; an unbounded attack always can.

    Raises:
        InputError: unknown attack.
    """
    entry = _entry(name)
    if not bounded(name):
        return True
    if entry.norms is None:
        made = entry.make()
        # an attack with a rule follows it where the ball has directions for it
        rule = getattr(made, "rule", None)
        ways = Ball.named(norm).rules if rule is not None and norm in Ball.known else (rule,)
        return (has_setting(made, "norm") and rule in ways) or norm == "linf"
    return norm in entry.norms


def attacking(name: str) -> Callable[..., AttackResult]:
    """The function that runs the attack called ``name``: ``(model, images, labels, **settings)``."""

    def run(model: nn.Module, images: Tensor, labels: Tensor, **settings: Any) -> AttackResult:
        if settings.get("targeted"):
            # labels are the targets unless the caller chooses otherwise
            settings = {"target": None, **settings}
        model, attack = as_module(model), create_attack(name, **settings)
        device = images.device if isinstance(images, Tensor) else torch.device("cpu")
        # a stochastic model draws too: its numbers are decided by the seed, and the caller's are left alone
        with lent({"the model": model}), seeded(attack.seed, name, "model", device=device):
            return run_attack(attack, model, images, labels)

    make = _entry(name).make
    about, mechanism = make.__doc__ or "", ""
    if isinstance(make, Preset):
        about, mechanism = make.about, f" of :class:`{make.mechanism.__name__}`"
    run.__name__ = run.__qualname__ = name
    run.__doc__ = (
        f"{about}\n\nAttacks ``model``: images ``[N, C, H, W]`` floats in [0, 1], labels ``[N]``, which with "
        f"``targeted=True`` are the targets. Settings are those{mechanism} that are not fixed."
    ).strip()
    return run
