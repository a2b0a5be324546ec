import numpy as np
import torch
from torch import nn

from purespike.models.draws import KnownDraws


class Noisy(nn.Module):
    """Noise of torch and of NumPy, as careless code draws it."""

    def forward(self, images):
        return images.flatten(1)[:, :3] + torch.randn(len(images), 3) + np.random.rand()  # noqa: NPY002


def test_every_image_meets_the_same_numbers_in_any_company():
    images = torch.rand(5, 1, 2, 2)
    known = KnownDraws(Noisy())
    first = known(images)
    assert torch.equal(first, known(images)) and torch.equal(first[2:4], known(images[2:4]))
    noise = first - images.flatten(1)[:, :3]
    torch.testing.assert_close(noise, noise[:1].expand(5, 3))
    assert not torch.equal(first, KnownDraws(Noisy(), seed=1)(images))


def test_it_draws_nothing_from_the_caller():
    torch.manual_seed(3)
    before = torch.get_rng_state()
    KnownDraws(Noisy())(torch.rand(2, 1, 2, 2, generator=torch.Generator().manual_seed(0)))
    assert torch.equal(torch.get_rng_state(), before)
