"""The words and number formats that every table, figure and page shares."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from purespike.budget import format_eps
from purespike.results.vocabulary import attack_text as attack_text

Evaluation = Mapping[str, Any]


@dataclass(frozen=True)
class Threat:
    """One threat model: its column title, its definition in a few words and in a sentence."""

    title: str
    short: str
    definition: str


THREATS: dict[str, Threat] = {
    "undefended": Threat(
        "Undefended",
        "classifier alone",
        "No purifier. The attacker differentiates the classifier, and the classifier alone is judged: "
        "the baseline that a defence has to beat.",
    ),
    "oblivious": Threat(
        "Oblivious",
        "attacker unaware of the purifier",
        "The attacker knows the classifier but not that a purifier stands before it. The images that break "
        "the classifier are purified afterwards. Most purification papers report this number; "
        "it is an upper bound.",
    ),
    "bpda": Threat(
        "BPDA",
        "purifier taken as identity",
        "The attacker knows both. It runs the purifier forwards and takes it as the identity backwards "
        "(backward pass differentiable approximation), so a purifier that merely hides its gradient "
        "gains nothing.",
    ),
    "adaptive": Threat(
        "Adaptive",
        "full gradient, worst case",
        "The attacker knows both and differentiates through purifier and classifier, with several surrogate "
        "derivatives and losses. An image counts as broken if any of them breaks it: "
        "the number to judge a defence by.",
    ),
    "transfer": Threat(
        "Transfer",
        "attack on a substitute",
        "The attacker knows neither model; it trains a substitute, attacks that and sends the images over.",
    ),
    "query": Threat(
        "Query",
        "outputs only",
        "The attacker sees only outputs and searches without any gradient; "
        "a defence that breaks here but not under gradients was hiding them.",
    ),
}

NORMS = {"linf": "L∞", "l2": "L2", "noise": "noise"}

MISSING = "–"


def eps_text(eps: float) -> str:
    """A perturbation size as the field writes it, ``16/255`` where that is exact."""
    return format_eps(eps)


def percent(share: float) -> str:
    """A share of 1 in percent with one decimal, without the sign."""
    return f"{100 * share:.1f}"


def interval(score: Mapping[str, Any]) -> str:
    """The 95% Wilson interval of a score, in percent."""
    return f"[{percent(score['low'])}, {percent(score['high'])}]"


def condition_text(cell: Mapping[str, Any]) -> str:
    """What bounds the perturbation of a cell: ``L∞, eps 16/255``, ``L2, no eps bound``, ``noise, σ 0.1``."""
    norm = NORMS.get(cell["norm"], str(cell["norm"]))
    if cell["eps"] is not None:
        return f"{norm}, eps {eps_text(cell['eps'])}"
    settings = cell.get("settings") or {}
    spread = settings.get("level")
    if spread is not None:
        return f"{norm}, σ {eps_text(spread)}"
    return f"{norm}, no eps bound"


def raised_text(cell: Mapping[str, Any]) -> str:
    """Of an attack whose budget the evaluation raised by itself: ``raised from 20 steps``; else nothing."""
    before = cell.get("raised_from")
    if before is None:
        return ""
    settings = cell.get("settings") or {}
    if settings.get("steps", before) != before:
        return f"raised from {before} steps"
    starts = settings.get("restarts")
    return f"raised to {starts} starts" if isinstance(starts, int) and starts > 1 else "budget raised"


def pass_text(cell: Mapping[str, Any]) -> str:
    """Of a model that draws, the accuracy of a single pass, ``61.3 a pass``; else nothing."""
    share = cell.get("pass_accuracy")
    return "" if share is None else f"{percent(share)} a pass"


def passes_text(evaluation: Evaluation) -> str:
    """How an image of a model that draws is judged, in a sentence; nothing for other models."""
    most = max((cell.get("passes") or 1 for cell in evaluation["cells"]), default=1)
    if most == 1:
        return ""
    return (
        f"The model draws at random: an image counts as the majority of {most} passes says; "
        '"a pass" is the share of single passes that were right.'
    )


def data_text(evaluation: Evaluation) -> str:
    """``360 digits test images``."""
    data = evaluation["data"]
    return " ".join(str(part) for part in (data["n"], data["source"], data.get("split"), "images") if part)


def model_text(model: Mapping[str, Any]) -> str:
    """``senet18_snn (11,268,298 parameters)``."""
    parameters = model.get("parameters")
    count = f" ({parameters:,} parameters)" if isinstance(parameters, int) else ""
    return f"{model.get('architecture', 'unnamed')}{count}"


def same_eps(one: float | None, other: float | None) -> bool:
    """Whether two perturbation sizes are the same up to rounding."""
    if one is None or other is None:
        return one is other
    return abs(one - other) < 1e-6
