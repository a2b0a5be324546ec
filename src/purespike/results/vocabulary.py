"""The words that every table, figure and page uses for threat models, attacks and norms."""

import importlib
import re
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal

from purespike.errors import InputError, brief

NAME = re.compile(r"\w[\w.+-]*")
COLOR = re.compile(r"#[0-9a-fA-F]{6}")
MARKER = re.compile(r"[ov^<>8sp*hHDdPXx+1234]")

NORMS = {"linf": "L∞", "l2": "L2", "l0": "L0", "noise": "noise"}
MISSING = "–"


def _check_title(kind: str, title: object) -> None:
    if not (isinstance(title, str) and title.isprintable()):
        raise InputError(f"{kind}: title {brief(title)}: one line of printable characters is needed")


def check_name(kind: str, name: object) -> None:
    """Check a name that recipes and the command line write in lists, with settings after colons.

    Raises:
        InputError: not a text, or one with other characters than letters, digits, and ``_ - . +``.
    """
    if not (isinstance(name, str) and NAME.fullmatch(name)):
        raise InputError(f"{kind} {brief(name)}: a name of letters, digits, and _ - . + is needed")


@dataclass(frozen=True, kw_only=True)
class ThreatWords:
    """What reports say of one threat model.

    Args:
        name: the word used in files, recipes and on the command line.
        title: column title.
        short: definition in a few words.
        definition: definition in a sentence or two.
        color: colour of its lines and bars, ``"#rrggbb"``.
        marker: matplotlib marker, one of its filled or crossed ones, which tells it apart in grey print.
        knowledge: rank of the attacker's knowledge of the model; waterfalls proceed from the lowest.
        needs_purifier: whether it makes no sense without a purifier.
        end_to_end: whether it attacks the defended model; ``False`` for the classifier without its purifier.
        always_shown: whether a table of a defended model has its column even when it was not measured.
        ranked: whether a leaderboard has its column.
        knows_all: whether the attacker may use every other one's images too; its worst case then is over
            everything that attacked the defended model.
        knows_draws: whether the attacker knows the random numbers of a stochastic model, which then draws the
            same ones for every image: another model, whose broken images count in no other worst case.
        route: head of the column that tells its routes apart: a surrogate, an approximation, a substitute.
    """

    name: str
    title: str
    short: str
    definition: str
    color: str
    marker: str
    knowledge: int
    needs_purifier: bool = False
    end_to_end: bool = True
    always_shown: bool = False
    ranked: bool = True
    knows_all: bool = False
    knows_draws: bool = False
    route: str = "Surrogate"

    @property
    def inline(self) -> str:
        """The title within a sentence: lower case, but for an acronym."""
        return self.title if self.title.isupper() else self.title.lower()


@dataclass(frozen=True, kw_only=True)
class AttackWords:
    """What reports and invariants know of one attack.

    Args:
        name: the word used in files, recipes and on the command line.
        title: name in tables.
        order: place in tables; attacks of one order keep the order of measurement.
        stepwise: whether its steps belong to its name, ``PGD-20``.
        rank: strength; an attack is at least as strong as one of lower rank that takes no more steps.
            ``None``: not compared.
        contains: attacks whose successes it keeps by construction.
        by_queries: whether it needs outputs alone.
        suite: whether it runs several attacks, many times the steps that its settings name.
    """

    name: str
    title: str
    order: int = 1000
    stepwise: bool = True
    rank: int | None = None
    contains: tuple[str, ...] = ()
    by_queries: bool = False
    suite: bool = False


KEPT = {
    "short": "full gradient, own surrogates",
    "definition": "The attacker knows both and differentiates through purifier and classifier, with several "
    "losses. Neurons of another kind kept their own surrogate derivative: another one may break more.",
}
"""Words of the adaptive attacker where neurons kept their own surrogate."""

THREATS: dict[str, ThreatWords] = {}
"""Threat models in the order of their columns."""

ATTACKS: dict[str, AttackWords] = {}
"""Attacks that say how they are called; ``purespike.attacks`` registers its own where it defines them."""


def register_threat(words: ThreatWords) -> ThreatWords:
    """Make ``words`` those of the threat model of that name.

    Raises:
        InputError: the name is taken or no name, the title no line, or an impossible colour or marker.
    """
    check_name("threat model", words.name)
    _check_title(f"threat model {words.name}", words.title)
    for word, value, form, such in (
        ("color", words.color, COLOR, "#b5174b"),
        ("marker", words.marker, MARKER, "o"),
    ):
        if not (isinstance(value, str) and form.fullmatch(value)):
            raise InputError(f"threat model {words.name}: {word} {brief(value)}: must be such as {such!r}")
    if words.name in THREATS:
        raise InputError(f"threat model {words.name!r} is registered twice")
    THREATS[words.name] = words
    return words


def register_attack(words: AttackWords) -> AttackWords:
    """Make ``words`` those of the attack of that name.

    Raises:
        InputError: the name is taken, or the title no line of text.
    """
    _check_title(f"attack {words.name}", words.title)
    if words.name in ATTACKS:
        raise InputError(f"attack {words.name!r} is registered twice")
    ATTACKS[words.name] = words
    return words


def attack_words(name: str) -> AttackWords:
    """The words of an attack; one that nobody registered is called by its name."""
    if name not in ATTACKS:
        # the library's own attacks are registered where they are defined, beside torch: imported only here
        importlib.import_module("purespike.attacks")
    return ATTACKS.get(name) or AttackWords(name=name, title=name)


def threat_words(name: str) -> ThreatWords:
    """The words of a threat model; one that nobody registered is called by its name, in grey."""
    return THREATS.get(name) or ThreatWords(
        name=name, title=name.title(), short=name, definition="", color="#7a828c", marker="x", knowledge=0
    )


def attack_text(attack: str, steps: int | None = None) -> str:
    """An attack's title with its steps, ``PGD-20``, if it has any and may have other steps."""
    words = attack_words(attack)
    return f"{words.title}-{steps}" if steps and words.stepwise else words.title


def percent(share: float, decimals: int = 1) -> str:
    """A share of 1 in percent, without the sign; a half is rounded up, as by hand: 51 of 80 are 63.8."""
    # binary fractions leave 63.75 a hair below itself
    exact = Decimal(repr(round(100 * float(share), 9)))
    return str(exact.quantize(Decimal(1).scaleb(-decimals), ROUND_HALF_UP))


# colours that common colour vision deficiencies leave distinct
register_threat(
    ThreatWords(
        name="undefended",
        title="Undefended",
        short="classifier alone",
        definition="No purifier. The attacker differentiates the classifier, and the classifier alone is "
        "judged: the baseline that a defence has to beat.",
        color="#7a828c",
        marker="o",
        knowledge=3,
        end_to_end=False,
        always_shown=True,
        ranked=False,
    )
)
register_threat(
    ThreatWords(
        name="oblivious",
        title="Oblivious",
        short="attacker unaware of the purifier",
        definition="The attacker knows the classifier but not the purifier. The images "
        "that break the classifier are purified afterwards. Most purification papers report this number; "
        "it is an upper bound.",
        color="#0077bb",
        marker="s",
        knowledge=0,
        needs_purifier=True,
        always_shown=True,
    )
)
register_threat(
    ThreatWords(
        name="bpda",
        title="BPDA",
        short="purifier taken as identity",
        definition="The attacker knows both. It runs the purifier forwards and takes it as the identity "
        "backwards (backward pass differentiable approximation), so a purifier that merely hides its "
        "gradient gains nothing.",
        color="#e08a00",
        marker="^",
        knowledge=4,
        needs_purifier=True,
        always_shown=True,
        ranked=False,
        route="Approximation",
    )
)
register_threat(
    ThreatWords(
        name="adaptive",
        title="Adaptive",
        short="full gradient, worst case",
        definition="The attacker knows both and differentiates through purifier and classifier, with several "
        "surrogate derivatives and losses. An image counts as broken if any of them breaks it; in the worst "
        "case, also if any attacker who knows less does: the number to judge a defence by.",
        color="#b5174b",
        marker="D",
        knowledge=5,
        always_shown=True,
        knows_all=True,
    )
)
register_threat(
    ThreatWords(
        name="seed_known",
        title="Seed known",
        short="adaptive, random numbers known",
        definition="As adaptive, and the attacker also knows the random numbers that a stochastic model will "
        "draw. What a defence loses here it owed to chance, not to repair.",
        color="#4d4d4d",
        marker="X",
        knowledge=6,
        ranked=False,
        knows_draws=True,
    )
)
register_threat(
    ThreatWords(
        name="transfer",
        title="Transfer",
        short="attack on a substitute",
        definition="The attacker knows neither model; it trains a substitute, attacks that and sends the "
        "images over.",
        color="#009988",
        marker="v",
        knowledge=1,
        route="Substitute",
    )
)
register_threat(
    ThreatWords(
        name="query",
        title="Query",
        short="outputs only",
        definition="The attacker sees only outputs and searches without any gradient; "
        "a defence that breaks here but not under gradients was hiding them.",
        color="#7b4fb5",
        marker="P",
        knowledge=2,
    )
)
