"""What purifiers cost: forward, one attack step through the whole, and a step of training through it."""

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.measure import Settings, Side, times
from benchmarks.networks import batch, multiplications, senet
from benchmarks.report import Result, counted, timed
from purespike.attacks import SignAttack
from purespike.models import Defended, Purifier
from purespike.seeding import generator
from purespike.training.objectives import Batch, create_objective

HALF = 0.7
"""Width that leaves about half of the multiplications."""
THROUGH = {"name": "end_to_end", "eps": "8/255", "attack": "n_fgsm", "denoise": 0.0, "ramp": 0.0, "guard": 0}
HOLDING = {**THROUGH, "attack": "pgd", "guided": 1.0, "apart": True}
"""As on CIFAR-10: PGD-2 by way of the guess, half of the batches until the classifier is wrong."""
PGD_7 = {"name": "pgd", "eps": "8/255", "steps": 7, "step_size": "2/255"}


def run(settings: Settings) -> Result:
    device = settings.device
    result = Result(f"The purifier before SENet18-SNN, {settings.batch} images of 32×32")
    classifier = senet(device).eval()
    purifier, half = _purifier(device), _purifier(device, HALF)
    painter = _purifier(device, network="encoder_decoder", output="reconstruction")
    both = Defended(purifier, classifier).eval()
    images, labels = batch(settings.batch, device)
    given = classifier, images, labels
    step = SignAttack(steps=1, eps=8 / 255, step_size=2 / 255)

    def forward(model: torch.nn.Module) -> Side:
        def side() -> None:
            with torch.inference_mode():
                model(images)

        return side

    def holding() -> None:
        for seed in _two_ways():
            _trained_through(HOLDING, painter, *given, seed=seed)

    sides: dict[str, Side] = {
        "classifier": forward(classifier),
        "both": forward(both),
        "PGD classifier": lambda: step.perturb(classifier, images, labels),
        "PGD both": lambda: step.perturb(both, images, labels),
        "half": forward(half),
        "purifier": forward(purifier),
        "through": partial(_trained_through, THROUGH, _purifier(device), *given),
        "PGD-7": partial(_trained, senet(device), images, labels),
        "encoder and decoder": forward(painter),
        "holding": holding,
    }
    with torch.inference_mode():
        apart = (both(images) - classifier(purifier(images).images)).abs().max().item()
    counted_of = {
        "purifier": purifier,
        "classifier": classifier,
        "half": half,
        "encoder and decoder": painter,
    }
    work = {name: multiplications(model, images[:1]) for name, model in counted_of.items()}
    seconds = times(sides, settings)
    # two batches, one for each way of the attack
    seconds["holding"] = [each / 2 for each in seconds["holding"]]
    expected = 1 + work["purifier"] / work["classifier"]
    note = (
        f"the purifier multiplies {work['purifier'] / 1e6:.0f} million times an image, the classifier "
        f"{work['classifier'] / 1e6:.0f}: more filters at full resolution, and two first layers that see T "
        "copies of one image only once"
    )
    result.rows = [
        timed(
            "purifier and classifier ÷ classifier, forward",
            seconds,
            "both",
            "classifier",
            same=f"logits {apart:.1e} apart from the parts called by hand",
            note=note,
        ),
        counted("the same in multiplications", expected, same="convolutions and linear layers, counted"),
        timed("PGD step through both ÷ through the classifier", seconds, "PGD both", "PGD classifier"),
        timed(
            "training the purifier through the whole (N-FGSM) ÷ the classifier (PGD-7), a step",
            seconds,
            "through",
            "PGD-7",
            same="2 passes of an image through both, 8 through the classifier",
        ),
        timed("purifier ÷ classifier, forward", seconds, "purifier", "classifier"),
        timed(
            f"purifier of width {HALF:g} ÷ of width 1, forward",
            seconds,
            "half",
            "purifier",
            same=f"multiplications {work['half'] / work['purifier']:.2f}",
        ),
        timed(
            "purifier that holds (encoder and decoder) ÷ classifier, forward",
            seconds,
            "encoder and decoder",
            "classifier",
            same=f"multiplications {work['encoder and decoder'] / work['classifier']:.2f}",
        ),
        timed(
            "training it (PGD-2 by way of its guess) ÷ the classifier (PGD-7), a step",
            seconds,
            "holding",
            "PGD-7",
            same="3 passes of an image, some through the encoder alone, and 8 through the classifier",
        ),
    ]
    result.extra["multiplications"] = work
    return result


def _purifier(device: str, width: float = 1.0, **settings: Any) -> Purifier:
    torch.manual_seed(0)
    purifier = Purifier(width=width, **settings).to(device).eval()
    # a new purifier changes nothing, and has nothing to differentiate
    nn.init.normal_(purifier.denoiser.last.weight, std=0.02)
    if purifier.estimator is not None:
        nn.init.normal_(purifier.estimator.last.weight, std=0.02)
    return purifier


def _two_ways() -> tuple[int, int]:
    """A seed whose batch is attacked until the guess is wrong, and one until the classifier is."""
    draws = {seed: float(torch.rand((), generator=generator(seed, "guided"))) for seed in range(20)}
    by_guess = [seed for seed, draw in draws.items() if draw < 0.5]
    return by_guess[0], next(seed for seed in draws if seed not in by_guess)


def _trained_through(
    settings: dict[str, Any],
    purifier: Purifier,
    classifier: nn.Module,
    images: Tensor,
    labels: Tensor,
    seed: int = 0,
) -> None:
    """Gradients of a step of the purifier on what an attack on the whole finds."""
    objective = create_objective(settings, stage="purifier")
    classifier.requires_grad_(False)
    batch = Batch(
        purifier.train(),
        images,
        labels,
        progress=0.5,
        seed=seed,
        classifier=classifier,
        network=Defended(purifier, classifier),
    )
    for step in objective.steps(batch):
        step.loss.backward()
    purifier.zero_grad()


def _trained(classifier: nn.Module, images: Tensor, labels: Tensor) -> None:
    """Gradients of a step of adversarial training with PGD-7."""
    for step in create_objective(PGD_7).steps(Batch(classifier.train(), images, labels)):
        step.loss.backward()
    classifier.zero_grad()
