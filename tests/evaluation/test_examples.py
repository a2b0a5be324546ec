"""The report's pictures show an attack that follows gradients, with and without the purifier."""

import pytest
import torch
from torch import nn

from purespike.data import ImageSet
from purespike.evaluation.examples import example_images
from purespike.models import Defended
from purespike.settings import EvaluationSettings


class Halving(nn.Module):
    """A purifier that halves its images."""

    def forward(self, images):
        return images / 2


@pytest.fixture
def both():
    torch.manual_seed(0)
    return Defended(Halving(), nn.Sequential(nn.Flatten(), nn.Linear(48, 3))).eval()


@pytest.fixture
def test_set():
    draws = torch.Generator().manual_seed(1)
    images = torch.randint(0, 256, (12, 3, 4, 4), dtype=torch.uint8, generator=draws)
    return ImageSet(images, torch.arange(12) % 3, ("a", "b", "c"), "tiny")


@pytest.mark.parametrize(
    ("attacks", "name"),
    [
        (["fgsm", "pgd:steps=5", "square:queries=9"], "pgd-5, L∞ eps 0.1: "),
        (["square:queries=9"], "square, L∞ eps 0.1: "),
        (["gaussian_noise"], "fgsm, L∞ eps 0.1: "),
    ],
)
def test_the_attack_follows_gradients_where_one_does(both, test_set, attacks, name):
    settings = EvaluationSettings(attacks=attacks, eps=["0.1"], surrogates=["rectangle"])
    found = example_images(both, test_set, settings, seed=0, device=torch.device("cpu"))
    assert found.caption.startswith(name)
    assert found.clean.shape == found.adversarial.shape == found.adaptive.shape == (8, 3, 4, 4)
    for attacked, purified, prediction in (
        (found.adversarial, found.purified, found.defended_prediction),
        (found.adaptive, found.adaptive_purified, found.adaptive_prediction),
    ):
        assert abs(attacked - found.clean).max() <= 0.1 + 1e-6
        images = torch.from_numpy(attacked)
        torch.testing.assert_close(torch.from_numpy(purified), images / 2)
        assert prediction.tolist() == both(images).argmax(1).tolist()


def test_knowing_the_purifier_never_breaks_less(both, test_set):
    """Halved images are half as far apart, so that both attacks point the same way here."""
    settings = EvaluationSettings(attacks=["pgd:steps=20"], eps=["0.2"], surrogates=["rectangle"])
    found = example_images(both, test_set, settings, seed=0, device=torch.device("cpu"))
    right = (found.adaptive_prediction == found.labels).sum()
    assert right <= (found.defended_prediction == found.labels).sum()
    assert right < (both(torch.from_numpy(found.clean)).argmax(1).numpy() == found.labels).sum()
