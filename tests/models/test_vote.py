import numpy as np
import pytest
import torch

import purespike as ps
from purespike.errors import InputError
from purespike.models import Defended, Purifier, create
from purespike.models.vote import vote


def drawn():
    return 3 * torch.randn((5, 4, 3), generator=torch.Generator().manual_seed(0))


def test_mean_is_that_of_the_probabilities():
    logits = drawn()
    exponents = np.exp(logits.double().numpy())
    expected = np.log((exponents / exponents.sum(2, keepdims=True)).mean(0))
    torch.testing.assert_close(vote(logits, "mean").double(), torch.as_tensor(expected), rtol=1e-5, atol=1e-6)


def test_majority_counts_and_has_the_gradient_of_the_mean():
    logits = drawn().requires_grad_()
    counted = vote(logits, "majority")
    for row in range(4):
        votes = [int(logits[number, row].argmax()) for number in range(5)]
        assert counted[row].tolist() == pytest.approx([votes.count(index) / 5 for index in range(3)])
    (found,) = torch.autograd.grad(counted[:, 0].sum(), logits)
    (expected,) = torch.autograd.grad(logits.softmax(2).mean(0)[:, 0].sum(), logits)
    assert torch.equal(found, expected) and found.abs().max() > 0


@pytest.mark.parametrize("how", ["mean", "majority"])
def test_a_defended_model_asks_its_purifier_several_times(how, tmp_path):
    torch.manual_seed(0)
    purifier = Purifier(width=1 / 16, time_steps=2, noise=0.3, passes=3, vote=how).eval()
    classifier = create("resnet14_snn", num_classes=3, width=0.05, time_steps=2).eval()
    model, images = Defended(purifier, classifier), torch.rand(2, 3, 8, 8)
    with torch.no_grad():
        torch.manual_seed(1)
        found = model(images)
        torch.manual_seed(1)
        noise = 0.3 * torch.randn(6, 3, 8, 8)
        torch.manual_seed(2)
        assert not torch.equal(purifier(images).images, purifier(images).images), "drawn anew each time"
        purifier.noise = 0.0
        each = [
            classifier(purifier(images + noise[2 * number : 2 * number + 2]).images) for number in range(3)
        ]
        purifier.noise = 0.3
    torch.testing.assert_close(found, vote(torch.stack(each), how), rtol=1e-5, atol=1e-6)
    ps.save(model, tmp_path / "m.safetensors")
    again = ps.load(tmp_path / "m.safetensors").purifier
    assert (again.noise, again.passes, again.vote) == (0.3, 3, how)


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"noise": -0.1}, "noise"),
        ({"noise": float("nan")}, "noise"),
        ({"passes": 0}, "passes"),
        ({"passes": 2, "vote": "median"}, "vote 'median'"),
    ],
)
def test_settings_out_of_range_are_named(settings, line):
    with pytest.raises(InputError, match=line):
        Purifier(width=1 / 16, calibrated=False, **settings)
