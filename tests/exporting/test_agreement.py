"""Two programs agree if they differ no more than rounding does to spikes."""

import torch

from exporting.small import classifier, images
from purespike.exporting.agreement import compare
from purespike.exporting.subject import outputs_of


def test_equal_outputs_agree():
    model, batch = classifier(), images(4)
    with torch.no_grad():
        found = compare(model, batch, outputs_of(model, batch))
    assert found.agree and found.differing == 0 and found.largest == 0


def test_a_shifted_output_does_not():
    model, batch = classifier(), images(4)
    with torch.no_grad():
        found = compare(model, batch, [outputs_of(model, batch)[0] + 0.01])
    assert not found.agree and found.differing == 4
    assert not compare(model, batch, [torch.full((4, 4), torch.nan)]).agree
    assert not compare(model, batch, [torch.zeros(4, 5)]).agree


def test_spikes_that_fall_otherwise_are_forgiven_as_far_as_the_models_own():
    class Edge(torch.nn.Module):
        """Fires where the first pixel is at least one half."""

        def forward(self, x):
            fired = (x.flatten(1)[:, :1] >= 0.5).to(x.dtype)
            return torch.cat([fired, 1 - fired], 1)

    batch = torch.full((4, 1, 2, 2), 0.5)
    other = torch.tensor([[0.0, 1.0]] * 4)
    found = compare(Edge(), batch, [other])
    assert found.agree and found.differing == 4 and found.own > 0.2
    assert "rounded otherwise" in str(found)
    # the same difference away from the threshold is no rounding
    assert not compare(Edge(), batch + 0.1, [other]).agree
