"""Asking one rule about one model, and cells of a table to ask about."""

from purespike.evaluation.diagnostics import Examination
from purespike.results import Cell, Score


def ask(check, model, images, labels, **known):
    """The findings of one rule; anything that the examination computes may be handed in."""
    return list(check(Examination(model, images, labels, **known)))


def one(check, model, images, labels, **known):
    """The only finding of one rule."""
    (finding,) = ask(check, model, images, labels, **known)
    return finding


def by_name(findings):
    return {finding.name: finding for finding in findings}


def cell(threat, outcomes=(1,), *, attack="pgd", eps=8 / 255, norm="linf", **more):
    score = Score.of(outcomes)
    return Cell(attack=attack, eps=eps, norm=norm, threat=threat, outcomes=outcomes, score=score, **more)
