"""The background-activity filter against a loop over events."""

import pytest
import torch

from purespike.errors import InputError
from purespike.events import BackgroundActivityFilter
from purespike.models import Defended, create, load, save


def frames(count=2, steps=4, side=6, seed=0, share=0.08):
    draws = torch.Generator().manual_seed(seed)
    return (torch.rand(count, 2 * steps, side, side, generator=draws) < share).float()


@pytest.mark.parametrize(("radius", "back"), [(1, 0), (1, 1), (2, 2), (1, 9)])
def test_an_event_needs_company(radius, back):
    given = frames()
    found = BackgroundActivityFilter(radius=radius, frames=back)(given)
    events = {tuple(place) for place in given.nonzero().tolist()}
    for image, channel, row, column in events:
        step = channel // 2
        supported = any(
            other == image
            and step - back <= c // 2 <= step
            and max(abs(r - row), abs(k - column)) <= radius
            and ((r, k) != (row, column) or c // 2 < step)
            for other, c, r, k in events
        )
        assert bool(found[image, channel, row, column]) == supported
    assert (found <= given).all() and 0 < found.sum() < given.sum()


def test_counts_pass_as_they_are_and_so_do_gradients():
    given = (frames() * 0.4).requires_grad_()
    module = BackgroundActivityFilter()
    found = module(given)
    kept = found > 0
    assert torch.equal(found[kept], given[kept])
    (gradient,) = torch.autograd.grad(found.sum(), given)
    assert torch.equal(gradient[given.detach() > 0] > 0, kept[given.detach() > 0])


def test_it_travels_in_front_of_a_classifier(tmp_path):
    classifier = create("resnet14_snn", in_channels=8, time_steps=4, coding="events", width=1 / 16)
    both = Defended(BackgroundActivityFilter(radius=2, frames=0), classifier).eval()
    save(both, tmp_path / "model.safetensors")
    again = load(tmp_path / "model.safetensors")
    assert torch.equal(again(frames()), both(frames())) and again.config == both.config


def test_bad_input():
    with pytest.raises(InputError, match="radius"):
        BackgroundActivityFilter(radius=0)
    with pytest.raises(InputError, match=r"event frames \[N, 2T, H, W\].*got \[1, 3, 4, 4\]"):
        BackgroundActivityFilter()(torch.zeros(1, 3, 4, 4))
