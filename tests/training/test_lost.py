"""A purifier behind which the classes are lost is warned of."""

import pytest
import torch
from torch import nn

from purespike.models import Purifier
from purespike.training.purifier import warn_if_lost


@pytest.fixture
def classifier():
    torch.manual_seed(1)
    linear = nn.Linear(64, 4)
    # grey is on the border of all classes, so that random images are of each of them
    linear.bias.data = -0.5 * linear.weight.data.sum(1)
    return nn.Sequential(nn.Flatten(), linear).eval()


def warned(output, classifier, capsys):
    torch.manual_seed(0)
    purifier = Purifier(in_channels=1, width=1 / 16, time_steps=2, output=output)
    warn_if_lost(purifier, classifier, torch.rand((40, 1, 8, 8), generator=torch.Generator().manual_seed(2)))
    return capsys.readouterr().err


def test_one_that_changes_nothing_is_not(classifier, capsys):
    assert warned("residual", classifier, capsys) == ""


def test_one_that_paints_everything_grey_is(classifier, capsys):
    # its last layer starts at zero, so that every image comes out the same
    said = warned("reconstruction", classifier, capsys)
    assert said.count("\n") == 1 and "of 40 clean training images keep the class" in said
    assert "learning_rate" in said
