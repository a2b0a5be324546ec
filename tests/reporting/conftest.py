"""A run folder as a finished run leaves it, with made-up but plausible numbers."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from purespike.results import Cell, Component, Epoch, Evaluation, Provenance, Samples, Score, WorstCase

N = 360
EPS = (16 / 255, 8 / 255)
CURVE = (2 / 255, 4 / 255, 8 / 255, 16 / 255, 24 / 255)
THREATS = ("undefended", "oblivious", "bpda", "adaptive")
# steps, and at eps 16/255 the accuracy in percent under each threat model
ATTACKS = {
    "fgsm": (1, (21.4, 88.1, 61.2, 44.3)),
    "ifgsm": (10, (6.2, 86.0, 47.7, 21.1)),
    "mifgsm": (10, (4.3, 85.4, 44.2, 18.6)),
    "pgd": (20, (3.1, 84.2, 39.5, 12.5)),
}
SURROGATES = ("rectangle(width=1)", "triangle(width=1)", "atan(alpha=2)")
PROVENANCE = Provenance(
    command="purespike run recipes/digits.yaml --seed 7",
    commit="3f2a9c1d5e6b7a8c9d0e1f2a3b4c5d6e7f8a9b0c",
    dirty=True,
    seed=7,
    date="2026-03-02T14:05:11+00:00",
    hardware={"device": "cpu", "cpu": "AMD EPYC 7763", "cores": 4, "memory_gib": 15.6},
    versions={"python": "3.12.4", "torch": "2.13.0+cpu", "numpy": "2.4.6", "purespike": "0.1.0"},
)
RECIPE = """\
name: digits
seed: 7
classifier: {thresholds: [0.6, 1.6, 2.6], neuron: {decay: 0.25, surrogate: rectangle}}
evaluation: {attacks: [fgsm, ifgsm, mifgsm, pgd, cw], eps: [16/255, 8/255]}
"""


def share(level: float) -> Score:
    return Score.share(round(N * level / 100), N)


def cell(attack: str, eps: float | None, norm: str, threat: str, percent: float, **settings: Any) -> Cell:
    """One attack under one threat model; the adaptive one names its components."""
    score = share(percent)
    lost = N - score.correct
    components = [
        Component(surrogate=surrogate, loss=loss, broken=round(lost * (0.97 - 0.13 * i - 0.05 * j)))
        for i, surrogate in enumerate(SURROGATES)
        for j, loss in enumerate(("ce", "margin"))
    ]
    return Cell(
        attack=attack,
        eps=eps,
        norm=norm,
        threat=threat,
        score=score,
        outcomes=(1,) * score.correct + (0,) * lost,
        settings=settings,
        forwards=N * 21,
        backwards=N * 20,
        seconds=8.0,
        mean_l2=2.4 if eps else 0.83,
        **({"components": components} if threat == "adaptive" else {}),
    )


def make_evaluation() -> Evaluation:
    clean = {"undefended": share(97.8), "defended": share(95.6)}
    cells = []
    for attack, (steps, levels) in ATTACKS.items():
        for eps in sorted({*EPS, *(CURVE if attack == "pgd" else ())}):
            for threat, level in zip(THREATS, levels, strict=True):
                start = 97.8 if threat == "undefended" else 95.6
                at_eps = start * (level / start) ** ((eps * 255 / 16) ** 1.3)
                cells.append(cell(attack, eps, "linf", threat, at_eps, steps=steps))
    for threat, cw, noise in (("undefended", 0, 91), ("oblivious", 81.3, 94.1)):
        cells.append(cell("cw", None, "l2", threat, cw, steps=100))
        cells.append(cell("gaussian_noise", None, "noise", threat, noise, level=0.1))
    worst = []
    for eps in EPS:
        for threat in THREATS:
            scores = [one.score for one in cells if (one.eps, one.threat) == (eps, threat)]
            worst.append(WorstCase(eps=eps, threat=threat, score=min(scores, key=lambda s: s.correct)))
    return Evaluation(
        schema=1,
        model={
            "classifier": {"architecture": "senet18_snn", "parameters": 705_914},
            "purifier": {"architecture": "purifier", "parameters": 4_365_382},
        },
        data={"source": "digits", "split": "test", "n": N, "fingerprint": "9d2c54f1a0b37e68"},
        settings={"eps": EPS, "curve_eps": CURVE},
        clean=clean,
        clean_outcomes={name: [1] * one.correct + [0] * (N - one.correct) for name, one in clean.items()},
        cells=cells,
        worst_case=worst,
        quality=[
            {"images": "clean, purified", "psnr": 31.42, "ssim": 0.9713},
            {"images": "adversarial, purified", "psnr": 28.9, "ssim": 0.9342},
        ],
        seed=7,
        provenance=PROVENANCE,
    )


def make_history() -> list[Epoch]:
    rates = {
        "classifier": (
            {"stem": 0.11, "stage1.block0.fire1": 0.2},
            {"stem": 0.09, "stage1.block0.fire1": 0.3},
        ),
        "purifier": ({"noise": 0.2, "excite": 0.4}, {"noise": 0.004, "excite": 0.981}),
    }
    rows = []
    for stage, last in (("classifier", 24), ("purifier", 16)):
        for epoch in range(last + 1):
            fall = math.exp(-epoch / 4)
            row: dict[str, Any] = {"stage": stage, "epoch": epoch, "seconds": 9.1}
            if stage == "classifier":
                row |= {"test_accuracy": 0.978 - 0.8 * fall}
                row |= {"loss": 2.3 * fall + 0.03, "accuracy": 0.995 - 0.85 * fall} if epoch else {}
            elif epoch:
                parts = {"reconstruction": 0.09 * fall, "asymmetric": 0.02 * fall, "total_variation": 0.0006}
                row |= {**parts, "loss": sum(parts.values())}
            if epoch in (0, last):
                row["firing_rates"] = rates[stage][epoch == last]
            rows.append(Epoch(**row))
    return rows


def make_samples(channels: int = 3, n: int = 8) -> Samples:
    """Blurred noise under sign noise of 16/255."""
    rng = np.random.default_rng(5)
    clean = np.kron(rng.random((n, channels, 8, 8)), np.ones((4, 4))).astype(np.float32)
    adversarial = np.clip(clean + 16 / 255 * rng.choice([-1, 1], clean.shape), 0, 1).astype(np.float32)
    labels = np.arange(n) % 10
    undefended, defended = (labels + 3) % 10, labels.copy()
    if n == 8:
        undefended[2], defended[5] = labels[2], 8
    return Samples(
        clean=clean,
        adversarial=adversarial,
        purified=clean + 0.25 * (adversarial - clean),
        labels=labels,
        undefended_prediction=undefended,
        defended_prediction=defended,
        caption="PGD-20, L∞, eps 16/255, oblivious",
        class_names=tuple(str(digit) for digit in range(10)),
    )


@pytest.fixture
def evaluation() -> Evaluation:
    return make_evaluation()


@pytest.fixture
def content() -> dict[str, Any]:
    """The same as plain JSON values, for tests that change some."""
    value: dict[str, Any] = json.loads(json.dumps(make_evaluation().to_json()))
    return value


@pytest.fixture
def classifier_only(content: dict[str, Any]) -> Evaluation:
    """The evaluation of a classifier without purifier."""
    content["model"]["purifier"] = content["clean"]["defended"] = None
    for name in ("cells", "worst_case"):
        content[name] = [one for one in content[name] if one["threat"] == "undefended"]
    content["clean_outcomes"]["defended"] = content["clean_outcomes"]["undefended"]
    return Evaluation.from_json(content | {"quality": []})


@pytest.fixture
def history() -> list[Epoch]:
    return make_history()


@pytest.fixture
def samples() -> Samples:
    return make_samples()


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A complete run folder."""
    folder = tmp_path / "digits"
    make_evaluation().save(folder / "evaluation.json")
    PROVENANCE.save(folder / "environment.json")
    lines = [json.dumps(row.to_json()) + "\n" for row in make_history()]
    (folder / "history.jsonl").write_text("".join(lines), encoding="utf-8")
    (folder / "recipe.yaml").write_text(RECIPE, encoding="utf-8")
    make_samples().save(folder / "samples.npz")
    return folder
