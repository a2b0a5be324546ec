"""What the purifier costs: forward, and one attack step through the whole."""

import torch

from benchmarks.measure import Settings, Side, times
from benchmarks.networks import batch, multiplications, senet
from benchmarks.report import Result, counted, timed
from purespike.attacks import SignAttack
from purespike.models import Defended, Purifier


def run(settings: Settings) -> Result:
    device = settings.device
    result = Result(f"The purifier before SENet18-SNN, {settings.batch} images of 32×32")
    classifier = senet(device).eval()
    torch.manual_seed(0)
    purifier = Purifier().to(device).eval()
    # a new purifier changes nothing, and has nothing to differentiate
    torch.nn.init.normal_(purifier.denoiser.last.weight, std=0.02)
    torch.nn.init.normal_(purifier.estimator.last.weight, std=0.02)
    both = Defended(purifier, classifier).eval()
    images, labels = batch(settings.batch, device)
    step = SignAttack(steps=1, eps=8 / 255, step_size=2 / 255)

    def forward(model: torch.nn.Module) -> Side:
        def side() -> None:
            with torch.inference_mode():
                model(images)

        return side

    sides: dict[str, Side] = {
        "classifier": forward(classifier),
        "both": forward(both),
        "PGD classifier": lambda: step.perturb(classifier, images, labels),
        "PGD both": lambda: step.perturb(both, images, labels),
    }
    with torch.inference_mode():
        apart = (both(images) - classifier(purifier(images).images)).abs().max().item()
    work = {
        name: multiplications(model, images[:1])
        for name, model in (("purifier", purifier), ("classifier", classifier))
    }
    seconds = times(sides, settings)
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
    ]
    result.extra["multiplications"] = work
    return result
