import copy

import pytest
import torch
from torch import nn

from purespike.training.averaging import Averaged, averaged, keep_average
from training.tiny import recipe


@pytest.mark.parametrize("decay", [0.3, 0.998])
def test_average_is_that_of_a_plain_loop(decay):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2)).double()
    average = Averaged(model, decay)
    expected = None
    for step in range(30):
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn_like(parameter))
            model(torch.randn(4, 3).double())
        average.update_parameters(model)
        # the first update takes the weights as they are
        kept = 0 if step == 0 else min(decay, (1 + step) / (10 + step))
        values = {name: value.numpy().copy() for name, value in model.state_dict().items()}
        expected = (
            values
            if expected is None
            else {name: kept * expected[name] + (1 - kept) * value for name, value in values.items()}
        )
    for name, value in average.module.state_dict().items():
        if name.endswith("num_batches_tracked"):
            assert value == 30
        else:
            torch.testing.assert_close(value, torch.as_tensor(expected[name]), rtol=1e-12, atol=1e-12)


def test_a_recipe_without_an_average_keeps_the_weights():
    model = nn.Linear(2, 2)
    before = copy.deepcopy(model.state_dict())
    average = averaged(model, recipe().purifier)
    keep_average(average, model)
    assert average is None and all(
        torch.equal(value, before[name]) for name, value in model.state_dict().items()
    )
