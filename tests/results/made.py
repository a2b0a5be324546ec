"""An evaluation with random outcomes, and its worst cases counted image by image."""

import itertools
from typing import Any

import numpy as np

from purespike.results import Score

N = 40
END_TO_END = ("oblivious", "bpda", "adaptive", "transfer", "query")


def made(*, norm: str = "linf", purifier: bool = True, sizes: tuple[float, ...] = (8 / 255, 16 / 255)) -> Any:
    """The content of an evaluation with random outcomes, so that the worst case is below every cell."""
    draw = np.random.default_rng(4)

    def bits(share: float) -> list[int]:
        return [int(bit) for bit in draw.random(N) < share]

    threats = ("undefended", *END_TO_END) if purifier else ("undefended", "adaptive")
    clean = {"undefended": bits(0.95), "defended": bits(0.9)}
    cells = []
    for eps, threat, (attack, steps) in itertools.product(
        sizes, threats, (("fgsm", 1), ("pgd", 20), ("autoattack", 100))
    ):
        if attack == "autoattack" and threat not in ("adaptive", "oblivious"):
            continue
        cells.append((attack, eps, norm, threat, {"steps": steps}))
    cells.append(("gaussian_noise", None, "noise", "oblivious", {"level": 0.1}))
    cells.append(("cw", None, "l2", "undefended", {"steps": 100}))
    columns = [bits(0.8) for _ in cells]
    return {
        "schema": 1,
        "model": {
            "classifier": {"architecture": "senet18_snn"},
            "purifier": {"architecture": "purifier"} if purifier else None,
        },
        "data": {"source": "digits", "split": "test", "n": N, "fingerprint": "0f"},
        "settings": {"norm": norm, "eps": list(sizes)},
        "clean": {
            "undefended": Score.of(clean["undefended"]).to_json(),
            "defended": Score.of(clean["defended"]).to_json() if purifier else None,
        },
        "clean_outcomes": clean,
        "labels": [index % 10 for index in range(N)],
        "cells": [
            {
                "attack": attack,
                "eps": eps,
                "norm": bound,
                "threat": threat,
                "settings": settings,
                "outcomes": column,
                "score": Score.of(column).to_json(),
                "warnings": ["FAB found nothing"] if attack == "autoattack" else [],
            }
            for (attack, eps, bound, threat, settings), column in zip(cells, columns, strict=True)
        ],
        "diagnostics": None,
        "verdict": {"level": "suspicious", "reasons": ["budget"]},
        "seed": 3,
        "provenance": {"command": "purespike evaluate m", "commit": "abc", "dirty": False, "date": "2026"},
    }


def robust(content: Any, eps: float, threats: tuple[str, ...]) -> list[bool]:
    """Image by image: is it robust in every cell of these threat models up to this budget?

    The adaptive attacker has the images of all others that attack the defended model.
    """
    if "adaptive" in threats:
        threats = END_TO_END if content["model"]["purifier"] else ("undefended", "adaptive")
    result = []
    for image in range(N):
        unbroken = True
        for cell in content["cells"]:
            if (
                cell["eps"] is not None
                and cell["eps"] <= eps
                and cell["threat"] in threats
                and not cell["outcomes"][image]
            ):
                unbroken = False
        result.append(unbroken)
    return result


def percent(values: list[bool]) -> str:
    return f"{100 * sum(values) / len(values):.2f}"
