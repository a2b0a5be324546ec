"""What kind of function the model is: random, stateful, dependent on its batch (group D)."""

import torch
from torch import Tensor, nn

from purespike.evaluation.finding import DEFAULT_LIMITS, Finding, Limits
from purespike.seeding import seeded

TRAMER = "Tramèr et al. 2020, On Adaptive Attacks to Adversarial Example Defenses"


@torch.no_grad()
def check_function(model: nn.Module, images: Tensor, limits: Limits = DEFAULT_LIMITS) -> list[Finding]:
    """Does the model give one answer to one image: again, from the same random numbers, and alone?

    Args:
        model: images to logits, in the mode it is evaluated in.
        images: ``[N, C, H, W]``, N at least 2.
        limits: what is still accepted.
    """
    first = _seeded(model, images, 0)
    # on the same images over and over, a state may come to rest and hide
    _seeded(model, 1 - images, 0)
    apart = _apart(first, _seeded(model, images, 0))
    if apart > limits.nondeterminism:
        return [
            _defence(
                "unreliable",
                f"the same images and random numbers give logits {apart:.2g} apart the second time: "
                "the model keeps state between calls",
                "reset its neurons in every forward (SpikingJelly: functional.reset_net; "
                "snnTorch: utils.reset)",
            )
        ]
    apart = _apart(first, _seeded(model, images, 1))
    if apart > limits.nondeterminism:
        return [
            _defence(
                "suspicious",
                f"other random numbers give logits {apart:.2g} apart: the model is random",
                "attack the expectation over its randomness, and judge over at least ten passes",
            )
        ]
    apart = _apart(first[:4], torch.cat([_seeded(model, image[None], 0) for image in images[:4]]))
    # batches of other sizes round differently; a spiking network may flip a spike for it
    if apart > max(0.02 * first.abs().max().item(), limits.nondeterminism):
        return [
            _defence(
                "suspicious",
                f"an image alone and in a batch gives logits {apart:.2g} apart",
                "batch norm in training mode? the model must be a function of one image",
            )
        ]
    return [_defence("reliable", "the model gives one answer to one image", "")]


def check_mode(modules_training: list[str]) -> list[Finding]:
    """Was the model handed over in training mode?

    Args:
        modules_training: names of the modules, with batch norm or dropout, that were.
    """
    if not modules_training:
        return []
    names = ", ".join(modules_training[:3]) + (" …" if len(modules_training) > 3 else "")
    return [
        Finding(
            "evaluation mode",
            "defence",
            "suspicious",
            f"the model arrived in training mode ({names}); it was evaluated in evaluation mode",
            "call model.eval() before you hand it over, and check that its clean accuracy is what you expect",
            TRAMER,
        )
    ]


def in_training(model: nn.Module) -> list[str]:
    """Names of the modules whose result depends on the mode, and which are in training mode."""
    kinds = (nn.modules.batchnorm._BatchNorm, nn.modules.dropout._DropoutNd)
    return [
        name or type(module).__name__
        for name, module in model.named_modules()
        if isinstance(module, kinds) and module.training
    ]


def _seeded(model: nn.Module, images: Tensor, seed: int) -> Tensor:
    with seeded(seed, device=images.device):
        return model(images).float()


def _apart(a: Tensor, b: Tensor) -> float:
    return (a - b).abs().max().item()


def _defence(level: str, seen: str, advice: str) -> Finding:
    return Finding("one image, one answer", "defence", level, seen, advice, TRAMER)
