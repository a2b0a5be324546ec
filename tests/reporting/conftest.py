"""A run folder as a finished run leaves it, with made-up but plausible numbers."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

N = 360
EPS = [16 / 255, 8 / 255]
CURVE = [2 / 255, 4 / 255, 8 / 255, 16 / 255, 24 / 255]
# at eps 16/255, in percent: undefended, oblivious, bpda, adaptive
LEVELS = {
    "fgsm": (21.4, 88.1, 61.2, 44.3),
    "ifgsm": (6.2, 86.0, 47.7, 21.1),
    "mifgsm": (4.3, 85.4, 44.2, 18.6),
    "pgd": (3.1, 84.2, 39.5, 12.5),
}
THREATS = ("undefended", "oblivious", "bpda", "adaptive")
SURROGATES = ("rectangle(width=1)", "triangle(width=1)", "atan(alpha=2)")


def score(percent: float) -> dict[str, Any]:
    """A score of N images with its 95% Wilson interval."""
    correct = round(N * percent / 100)
    share, z = correct / N, 1.959963985
    centre, scale = share + z * z / (2 * N), 1 + z * z / N
    half = z * math.sqrt(share * (1 - share) / N + z * z / (4 * N * N))
    low, high = max(0.0, (centre - half) / scale), min(1.0, (centre + half) / scale)
    return {"correct": correct, "n": N, "accuracy": share, "low": low, "high": high}


def cell(
    attack: str, eps: float | None, norm: str, threat: str, level: float, steps: int | None = 20
) -> dict[str, Any]:
    """One attack under one threat model."""
    result = score(level)
    parts = len(SURROGATES) * 2 if threat == "adaptive" else 1
    passes = N * (steps or 1) * parts
    value: dict[str, Any] = {
        "attack": attack,
        "eps": eps,
        "norm": norm,
        "threat": threat,
        "score": result,
        "settings": {"steps": steps, "step_size": 2 / 255} if steps else {},
        "forwards": passes + N,
        "backwards": passes,
        "seconds": passes / 900,
        "outcomes": [1] * result["correct"] + [0] * (N - result["correct"]),
        "mean_l2": 2.4 if eps else 0.83,
    }
    if threat == "adaptive":
        lost = N - result["correct"]
        value["components"] = [
            {"surrogate": surrogate, "loss": loss, "broken": round(lost * (0.97 - 0.13 * i - 0.05 * j))}
            for i, surrogate in enumerate(SURROGATES)
            for j, loss in enumerate(("ce", "margin"))
        ]
    return value


def provenance() -> dict[str, Any]:
    return {
        "command": "purespike run recipes/digits.yaml --seed 7",
        "commit": "3f2a9c1d5e6b7a8c9d0e1f2a3b4c5d6e7f8a9b0c",
        "dirty": True,
        "seed": 7,
        "date": "2026-03-02T14:05:11+00:00",
        "hardware": {"device": "cpu", "cpu": "AMD EPYC 7763", "cores": 4, "memory_gib": 15.6},
        "versions": {"python": "3.12.4", "torch": "2.13.0+cpu", "numpy": "2.4.6", "purespike": "0.1.0"},
    }


def make_evaluation() -> dict[str, Any]:
    clean = {"undefended": score(97.8), "defended": score(95.6)}
    cells = []
    for attack, levels in LEVELS.items():
        steps = {"fgsm": 1, "pgd": 20}.get(attack, 10)
        for eps in sorted({*EPS, *(CURVE if attack == "pgd" else [])}):
            for threat, level in zip(THREATS, levels, strict=True):
                start = 97.8 if threat == "undefended" else 95.6
                at_eps = start * (level / start) ** ((eps * 255 / 16) ** 1.3)
                cells.append(cell(attack, eps, "linf", threat, at_eps, steps))
    cells += [
        cell("cw", None, "l2", threat, level, 100)
        for threat, level in (("undefended", 0), ("oblivious", 81.3))
    ]
    noise = [
        cell("gaussian_noise", None, "noise", threat, level, None)
        for threat, level in (("undefended", 91), ("oblivious", 94.1))
    ]
    for one in noise:
        one["settings"] = {"level": 0.1}
    worst = [
        {
            "eps": eps,
            "threat": threat,
            "score": min(
                (c["score"] for c in cells if c["eps"] == eps and c["threat"] == threat),
                key=lambda s: s["correct"],
            ),
        }
        for eps in EPS
        for threat in THREATS
    ]
    return {
        "schema": 1,
        "model": {
            "classifier": {"architecture": "senet18_snn", "parameters": 705_914},
            "purifier": {"architecture": "purifier", "parameters": 4_365_382},
        },
        "data": {"source": "digits", "split": "test", "n": N, "fingerprint": "9d2c54f1a0b37e68"},
        "settings": {
            "eps": EPS,
            "curve_eps": CURVE,
            "attacks": [*LEVELS, "cw", "gaussian_noise"],
            "surrogates": list(SURROGATES),
            "losses": ["ce", "margin"],
            "batch_size": 120,
        },
        "clean": clean,
        "clean_outcomes": {
            name: [1] * one["correct"] + [0] * (N - one["correct"]) for name, one in clean.items()
        },
        "cells": cells + noise,
        "worst_case": worst,
        "quality": [
            {"images": "clean, purified", "psnr": 31.42, "ssim": 0.9713},
            {"images": "adversarial (PGD-20, eps 16/255)", "psnr": 25.03, "ssim": 0.8127},
            {"images": "adversarial, purified", "psnr": 28.9, "ssim": 0.9342},
        ],
        "seed": 7,
        "provenance": provenance(),
    }


def make_history() -> list[dict[str, Any]]:
    rng = np.random.default_rng(3)
    lines: list[dict[str, Any]] = []
    classifier = [
        "stem",
        *(f"stage{s}.block{b}.fire{f}" for s in (1, 2, 3, 4) for b in (0, 1) for f in (1, 2)),
    ]
    purifier = [
        *(f"noise.conv{i}" for i in range(1, 5)),
        *(f"denoiser.down{i}.fire" for i in (1, 2, 3)),
        "denoiser.middle",
        *(f"denoiser.up{i}.fire" for i in (3, 2, 1)),
        "denoiser.squeeze",
        "denoiser.excite",
    ]
    for stage, layers in (("classifier", classifier), ("purifier", purifier)):
        last = 24 if stage == "classifier" else 16
        start = rng.uniform(0.03, 0.4, len(layers))
        end = np.clip(start * rng.uniform(0.4, 1.5, len(layers)), 0.012, 0.9)
        if stage == "purifier":
            end[-1], end[3] = 0.981, 0.004
        for epoch in range(last + 1):
            line: dict[str, Any] = {
                "stage": stage,
                "epoch": epoch,
                "learning_rate": 0.1 * (1 - epoch / 30),
                "seconds": 9.1,
                "images_per_second": 158.0,
            }
            wobble = float(rng.uniform(0.95, 1.05))
            if stage == "classifier":
                line["test_accuracy"] = 0.1 if epoch == 0 else 0.978 - 0.8 * math.exp(-epoch / 3) * wobble
            if epoch and stage == "classifier":
                line |= {
                    "loss": 2.3 * math.exp(-epoch / 5) * wobble + 0.03,
                    "accuracy": 0.995 - 0.85 * math.exp(-epoch / 2.5),
                }
            elif epoch:
                parts = {
                    "reconstruction": 0.09 * math.exp(-epoch / 4) + 0.004,
                    "asymmetric": 0.02 * math.exp(-epoch / 3) + 0.0008,
                    "total_variation": 0.0006 + 0.0004 * math.exp(-epoch / 6),
                }
                line |= {name: value * wobble for name, value in parts.items()} | {
                    "loss": sum(parts.values()) * wobble
                }
            if epoch in (0, last):
                line["firing_rates"] = dict(zip(layers, (start if epoch == 0 else end).tolist(), strict=True))
            lines.append(line)
    return lines


def make_samples(channels: int = 3, n: int = 8) -> dict[str, np.ndarray]:
    """Rings and bars under sign noise of 16/255."""
    rng = np.random.default_rng(5)
    y, x = np.mgrid[-1:1:32j, -1:1:32j]
    pictures = []
    for index in range(n):
        radius, turn = 0.35 + 0.3 * rng.random(), rng.uniform(0, np.pi)
        ring = np.exp(-(((np.hypot(x * 1.2, y) - radius) / 0.13) ** 2))
        bar = (
            np.exp(-(((x * np.cos(turn) + y * np.sin(turn)) / 0.14) ** 2))
            * (np.abs(y) < 0.75)
            * (np.abs(x) < 0.75)
        )
        pictures.append(np.clip(ring if index % 3 == 0 else bar if index % 3 == 1 else ring + bar, 0, 1))
    clean = np.repeat(np.array(pictures, np.float32)[:, None], channels, axis=1)
    adversarial = np.clip(clean + 16 / 255 * rng.choice([-1, 1], clean.shape), 0, 1).astype(np.float32)
    purified = np.clip(
        clean + 0.25 * (adversarial - clean) + 0.02 * rng.normal(size=clean.shape), 0, 1
    ).astype(np.float32)
    labels = np.arange(n) % 10
    undefended, defended = (labels + 3) % 10, labels.copy()
    undefended[2], defended[5] = labels[2], 8
    return {
        "clean": clean,
        "adversarial": adversarial,
        "purified": purified,
        "labels": labels,
        "undefended_prediction": undefended,
        "defended_prediction": defended,
        "caption": np.array("PGD-20, L∞, eps 16/255, oblivious"),
        "class_names": np.array([str(digit) for digit in range(10)]),
    }


RECIPE = """\
name: digits
seed: 7
data: {source: digits, image_size: 32, channels: 3}
classifier:
  architecture: senet18_snn
  width: 16
  time_steps: 4
  thresholds: [0.6, 1.6, 2.6]
  neuron: {decay: 0.25, surrogate: rectangle}
train_classifier: {epochs: 24, batch_size: 64, learning_rate: 0.1, momentum: 0.9, augment: {flip: false}}
purifier: {time_steps: 4, gamma: 0.3, weights: {asymmetric: 0.5, total_variation: 0.05}}
evaluation: {attacks: [fgsm, ifgsm, mifgsm, pgd, cw], eps: [16/255, 8/255]}
"""


def make_run(folder: Path) -> Path:
    """Write a complete run folder."""
    folder.mkdir(parents=True)
    (folder / "evaluation.json").write_text(json.dumps(make_evaluation()), encoding="utf-8")
    (folder / "environment.json").write_text(json.dumps(provenance()), encoding="utf-8")
    (folder / "history.jsonl").write_text(
        "".join(json.dumps(line) + "\n" for line in make_history()), encoding="utf-8"
    )
    (folder / "recipe.yaml").write_text(RECIPE, encoding="utf-8")
    np.savez_compressed(folder / "samples.npz", **make_samples())  # type: ignore[arg-type]
    return folder


@pytest.fixture
def evaluation() -> dict[str, Any]:
    return make_evaluation()


@pytest.fixture
def classifier_only() -> dict[str, Any]:
    """The evaluation of a classifier without purifier."""
    value = make_evaluation()
    value["model"]["purifier"] = None
    value["clean"]["defended"] = None
    value["cells"] = [one for one in value["cells"] if one["threat"] == "undefended"]
    value["worst_case"] = [one for one in value["worst_case"] if one["threat"] == "undefended"]
    value["quality"] = []
    return value


@pytest.fixture
def history() -> list[dict[str, Any]]:
    return make_history()


@pytest.fixture
def samples() -> dict[str, np.ndarray]:
    return make_samples()


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A complete run folder."""
    return make_run(tmp_path / "digits")
