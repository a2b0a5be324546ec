"""Diagnostics: reasons not to believe an evaluation, each a rule; see :func:`rule` for adding one."""

from purespike.evaluation.diagnostics import (
    answers,
    bpda,
    convergence,
    determinism,
    direction,
    evidence,
    gradients,
    invariants,
    large_budget,
    neurons,
    outputs,
    planted,
    randomness,
    resets,
    surrogates,
)
from purespike.evaluation.diagnostics.examination import Examination
from purespike.evaluation.diagnostics.rule import RULES, Rule, examine, rule

__all__ = [
    "RULES",
    "Examination",
    "Rule",
    "answers",
    "bpda",
    "convergence",
    "determinism",
    "direction",
    "evidence",
    "examine",
    "gradients",
    "invariants",
    "large_budget",
    "neurons",
    "outputs",
    "planted",
    "randomness",
    "resets",
    "rule",
    "surrogates",
]
