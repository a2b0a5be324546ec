"""The models that ship, by name: the run of each, and the attacks that its card tells of."""

from dataclasses import dataclass
from typing import Any

ATTACKS = ("fgsm", "pgd:steps=20", "apgd_ce:steps=20", "square:queries=300")
KINDS = {
    "": "classifier alone",
    "-paper": "the paper's purifier before it",
    "-holding": "a purifier trained through the whole before it",
}


@dataclass(frozen=True)
class Shipped:
    """One data set's classifier, and the runs whose purifiers stand before it.

    Args:
        data: source of the images.
        about: the images and the classifier in words.
        eps: L∞ budget of the attacks.
        images: test images that are attacked.
        paper: run folder of the classifier and of the paper's purifier.
        holding: run folder of the purifier trained through the whole.
        diagnose: images on which the evaluation is examined.
    """

    data: str
    about: str
    eps: str
    images: int
    paper: str
    holding: str
    diagnose: int = 8

    def settings(self, purified: bool) -> dict[str, Any]:
        """Settings of the evaluation of the card, for :func:`purespike.evaluate`."""
        threats = ["undefended", "oblivious", "adaptive", "query"] if purified else ["undefended", "adaptive"]
        return {
            "attacks": list(ATTACKS),
            "eps": [self.eps],
            "threats": threats,
            "images": self.images,
            "batch_size": self.images,
            "diagnose": self.diagnose,
        }


SHIPPED = {
    "digits16": Shipped(
        data="digits16",
        about="8×8 scans of digits at 16×16, narrow ResNet14-SNN",
        eps="16/255",
        images=100,
        paper="results/digits16",
        holding="results/digits16-holding",
        diagnose=16,
    ),
    "digits": Shipped(
        data="digits",
        about="8×8 scans of digits at 32×32, narrow ResNet14-SNN",
        eps="16/255",
        images=40,
        paper="results/digits",
        holding="results/digits-holding",
    ),
    "mnist": Shipped(
        data="mnist",
        about="MNIST, narrow ResNet14-SNN trained on 12,000 images",
        eps="0.2",
        images=40,
        paper="results/mnist-small",
        holding="results/mnist-small-holding",
    ),
    "cifar10-small": Shipped(
        data="cifar10",
        about="CIFAR-10, narrow SENet18-SNN trained on 10,000 images",
        eps="8/255",
        images=128,
        diagnose=16,
        paper="results/cifar10-small",
        holding="results/cifar10-small-holding",
    ),
}
