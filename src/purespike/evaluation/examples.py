"""A few test images, attacked without and with knowledge of the purifier, for the report's pictures."""

import torch
from torch import Tensor

from purespike.attacks import Attack, create_attack
from purespike.attacks.run import run_attack
from purespike.data import ImageSet
from purespike.evaluation.plan import parse_budgets, plan_jobs, resolve, stepped_name
from purespike.models import Defended
from purespike.results import Samples
from purespike.results.vocabulary import NORMS
from purespike.settings import EvaluationSettings

SHOWN = 8


def example_images(
    model: Defended, test: ImageSet, settings: EvaluationSettings, *, seed: int, device: torch.device
) -> Samples:
    """An attack of an evaluation on eight images, at its first budget, with and without the purifier.

    Args:
        model: purifier and classifier.
        test: images of which some are drawn.
        settings: attacks and budgets.
        seed: seed of the draw.
        device: device of ``model``.
    """
    settings = resolve(settings)
    attack = _shown_attack(settings)
    chosen = test.take(SHOWN, seed=seed)
    clean, labels = chosen.to_float().to(device), chosen.labels.to(device)
    oblivious = run_attack(attack, model.classifier, clean, labels).images
    adaptive = run_attack(attack, model, clean, labels).images

    def judged(images: Tensor) -> tuple[Tensor, Tensor]:
        purified = model.purify(images)
        return purified.clamp(0, 1), model.classifier(purified).argmax(1)

    with torch.inference_mode():
        alone = model.classifier(oblivious).argmax(1)
        arrays = {
            "clean": clean,
            "adversarial": oblivious,
            "labels": labels,
            "undefended_prediction": alone,
            "adaptive": adaptive,
        }
        arrays["purified"], arrays["defended_prediction"] = judged(oblivious)
        arrays["adaptive_purified"], arrays["adaptive_prediction"] = judged(adaptive)
    return Samples(
        **{name: tensor.cpu().numpy() for name, tensor in arrays.items()},
        caption=_caption(attack, settings),
        class_names=chosen.class_names,
    )


def _shown_attack(settings: EvaluationSettings) -> Attack:
    """The last bounded attack of the table that follows gradients, else the last one, at its first eps."""
    first = parse_budgets(settings.eps[:1], settings.norm)
    bounded = [
        job.attack
        for job in plan_jobs(settings.attacks or (), first, norm=settings.norm)
        if job.eps is not None
    ]
    following = [attack for attack in bounded if attack.gradient_part() is not None]
    return (following or bounded or [create_attack("fgsm", eps=first[0], norm=settings.norm)])[-1]


def _caption(attack: Attack, settings: EvaluationSettings) -> str:
    budget = f"{NORMS[settings.norm]} eps {settings.eps[0]}"
    both = "both together (adaptive, by their own gradient alone)"
    return f"{stepped_name(attack)}, {budget}: against the classifier alone (oblivious), and against {both}"
