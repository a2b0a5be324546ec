"""The adaptive evaluation of a purified network against the same ensemble run the plain way."""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

import purespike
from benchmarks.measure import Settings, times
from benchmarks.peers import available
from benchmarks.report import Result, timed
from purespike.attacks import SignAttack, worst_case
from purespike.budget import parse_eps
from purespike.data import load_data
from purespike.evaluation.plan import LOSSES, SURROGATES
from purespike.models import Defended
from purespike.neurons import surrogate_gradient

FOLDER = "results/digits"
IMAGES, EPS, STEPS = 16, "16/255", 10


def run(settings: Settings) -> Result:
    result = Result(f"Worst case over surrogates and losses: PGD-{STEPS} on the purified digits classifier")
    model = purespike.load(FOLDER).to(settings.device).eval()
    assert isinstance(model, Defended)
    data = load_data("digits").test
    images = data.to_float()[:IMAGES].to(settings.device)
    labels = data.labels[:IMAGES].to(settings.device)
    attack = SignAttack(eps=parse_eps(EPS), steps=STEPS, step_size=2 / 255, random_start=True)

    def plain() -> Tensor:
        fallen = torch.zeros(len(labels), dtype=torch.bool, device=labels.device)
        for surrogate in SURROGATES:
            for loss in LOSSES:
                with surrogate_gradient(model, surrogate):
                    fallen |= replace(attack, loss=loss)(model, images, labels).success
        return fallen

    def ours(precision: str = "fp32") -> Tensor:
        rough = replace(attack, precision=precision)
        found, _ = worst_case(model, images, labels, attack=rough, surrogates=SURROGATES, losses=LOSSES)
        return found.success

    sides: dict[str, Callable[[], Tensor]] = {"plain": plain, "ours": ours, "ours bf16": lambda: ours("bf16")}
    threat = f"robust under adaptive PGD-{STEPS}, L∞ eps {EPS}, of {IMAGES} images: "
    if reason := available("pyautoattack"):
        result.skipped.append(reason)
    else:
        sides["APGD"] = lambda: _apgd(model, images, labels, settings.device)
        sides["one"] = lambda: replace(attack, stop_early=True)(model, images, labels).success
    robust = {name: int((~side()).sum()) for name, side in sides.items()}
    # minutes long, and warm from the check above
    seconds = times(sides, replace(settings, repeats=min(3, settings.repeats)), warm=0)
    pairs = len(SURROGATES) * len(LOSSES)
    result.rows = [
        timed(
            f"worst case of {pairs} attacks ÷ the {pairs} attacks one by one on all images",
            seconds,
            "ours",
            "plain",
            same=f"{threat}{robust['ours']} and {robust['plain']}",
        ),
        timed(
            "the same with bf16 gradients ÷ with fp32",
            seconds,
            "ours bf16",
            "ours",
            same=f"{threat}{robust['ours bf16']} and {robust['ours']}",
        ),
    ]
    if "APGD" in sides:
        result.rows.append(
            timed(
                f"PGD-{STEPS} ÷ pyautoattack's APGD-CE of {STEPS} steps",
                seconds,
                "one",
                "APGD",
                same=f"not the same attack; {threat}{robust['one']} and {robust['APGD']}",
            )
        )
    result.extra["robust"] = robust
    return result


def _apgd(model: Defended, images: Tensor, labels: Tensor, device: str) -> Tensor:
    from pyautoattack import AutoAttack
    from pyautoattack.autopgd_base import APGDAttack

    common = {"norm": "Linf", "eps": parse_eps(EPS), "device": device, "seed": 0}
    adversary = AutoAttack(model, version="custom", attacks=["apgd-ce"], **common)
    # its step sizes follow from n_iter when it is built, and only then
    adversary.apgd = APGDAttack(model, n_iter=STEPS, n_restarts=1, logger=adversary.logger, **common)
    attacked, _ = adversary.run_standard_evaluation(images, labels, batch_size=len(labels))
    with torch.no_grad():
        return model(attacked).argmax(1) != labels
