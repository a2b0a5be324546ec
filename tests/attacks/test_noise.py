import pytest
import torch

from purespike.attacks import GaussianNoise, gaussian_noise
from purespike.attacks.objective import margin


@pytest.mark.parametrize("level", ["20/255", 0.05, 0])
def test_noise_has_its_deviation(level):
    # equal images would have equal noise
    images = (0.5 + 1e-6 * torch.arange(4)).view(4, 1, 1, 1).repeat(1, 3, 32, 32)
    result = GaussianNoise(level=level, seed=2)(torch.nn.Flatten(), images, torch.zeros(4, dtype=torch.long))
    noise = result.images - images
    expected = 20 / 255 if level == "20/255" else level
    # 12288 draws: four standard errors
    assert noise.std().item() == pytest.approx(expected, rel=0.03)
    assert abs(noise.mean().item()) <= 4 * expected / 12288**0.5
    assert len(torch.unique(noise)) > 1000 or not level


def test_is_clipped():
    images = torch.zeros(2, 1, 16, 16)
    noisy = GaussianNoise(level=1.0)(torch.nn.Flatten(), images, torch.zeros(2, dtype=torch.long)).images
    assert noisy.min() == 0 and noisy.max() == 1
    assert 0.4 < (noisy == 0).float().mean() < 0.6


def test_costs_one_forward_and_no_gradient(plain):
    model, images, labels = plain
    result = gaussian_noise(model, images, labels, level=0.2)
    assert (result.forwards, result.backwards) == (len(images), 0)
    torch.testing.assert_close(result.loss_trace[0], margin(model(result.images), labels).detach())
